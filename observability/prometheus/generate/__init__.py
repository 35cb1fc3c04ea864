"""Generates `rules/objectives.yaml`: the service level objectives with a budget of one day or 30 days."""
