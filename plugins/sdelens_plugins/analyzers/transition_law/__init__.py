"""The fit compared with the model's own next-state law."""
