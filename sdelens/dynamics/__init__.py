"""What a fitted law does by itself: its fields, fixed points, stability and moments."""
