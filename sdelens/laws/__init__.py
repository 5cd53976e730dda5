"""Laws of the next state, and the SDEs that they are read as."""
