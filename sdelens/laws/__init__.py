"""Laws of the next state, and the SDEs they correspond to."""
