"""A mixture of Gaussians with shared drift."""
