"""The monthly comparison as a Prefect flow, in an environment of its own: Prefect needs an older FastAPI."""
