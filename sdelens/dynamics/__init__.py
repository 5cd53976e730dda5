"""Dynamics of a fitted law: fields, fixed points, stability and moments."""
