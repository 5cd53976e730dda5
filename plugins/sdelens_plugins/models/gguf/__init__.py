"""GGUF files, converted once to folders in Hugging Face format."""
