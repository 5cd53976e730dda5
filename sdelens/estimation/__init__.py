"""From paths to laws: least squares, likelihood, gradient descent."""
