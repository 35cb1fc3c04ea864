"""The model bundle: read, write, score, and the reference that drift is measured against."""
