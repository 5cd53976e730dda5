"""Language models beside a fit: texts, prompts, next tokens, surprisal and patching."""
