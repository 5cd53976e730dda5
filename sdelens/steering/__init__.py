"""Text generated while a fit displaces the model's states."""
