"""Sample savings from training on model-drawn next states."""
