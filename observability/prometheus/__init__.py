"""Prometheus: what it scrapes, its rules, and their tests."""
