"""Reports written down."""
