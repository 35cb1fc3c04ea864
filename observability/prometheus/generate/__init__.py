"""Writes `rules/objectives.yaml`: the service level objectives, over a budget of a day or of 30 days."""
