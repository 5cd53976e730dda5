"""Shares of the motion: drift, lack of fit, memory, unexplained and sampling noise."""
