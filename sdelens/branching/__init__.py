"""The model's own law of the next state: next tokens, tried one by one."""
