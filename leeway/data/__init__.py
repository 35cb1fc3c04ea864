"""Extracts, training data, and the built-in population."""
