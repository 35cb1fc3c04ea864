"""The documentation, and the code that makes parts of it. Nothing that runs in production imports it."""
