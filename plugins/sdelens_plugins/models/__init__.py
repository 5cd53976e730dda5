"""Adapters of libraries that hold language models."""
