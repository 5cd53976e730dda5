"""Families of constant noise, one file each."""
