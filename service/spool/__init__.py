"""Answered predictions on local disk until the database has them."""
