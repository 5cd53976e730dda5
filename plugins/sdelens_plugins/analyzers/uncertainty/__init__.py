"""Association of the fitted noise with next-token uncertainty."""
