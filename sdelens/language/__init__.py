"""What a fitted law says of a language model's words: readout, generation, attribution, surprise."""
