"""Structures of constant noise, one file for each."""
