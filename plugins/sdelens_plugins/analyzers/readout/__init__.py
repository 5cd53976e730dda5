"""What drift and noise do to the next-token distribution."""
