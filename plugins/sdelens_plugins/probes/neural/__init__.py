"""Neural drift and diffusion."""
