"""Aggregates of a window, computed by the database that holds it: exact, and without reading its rows."""
