"""Families of constant noise, one file each.

Noise that depends on the state scales a member of a family: see
`sdelens.laws.scale.ScaledCorrelation`.
"""
