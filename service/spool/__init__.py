"""Predictions on local disk until the database has stored them."""
