"""Text decoded from simulated states, compared with the model's own."""
