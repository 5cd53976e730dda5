"""Local-linear estimates of drift and diffusion."""
