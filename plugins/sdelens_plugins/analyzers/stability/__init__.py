"""Lyapunov exponents, contraction and the stationary law."""
