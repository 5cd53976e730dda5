"""Documents through a language model: states on disk."""
