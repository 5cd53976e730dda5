"""What a fitted law says of words: readout, generation, attribution, surprise."""
