"""One-step predictions and free runs of the fitted SDE."""
