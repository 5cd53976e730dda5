"""Token importance from drift, noise, attention and gradients."""
