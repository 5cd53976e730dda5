"""Code that several analyzers share."""
