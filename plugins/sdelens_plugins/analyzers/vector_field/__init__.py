"""The drift as a field in a plane, with its fixed points."""
