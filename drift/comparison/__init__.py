"""Comparing a window with its reference: distances, findings, Evidently."""
