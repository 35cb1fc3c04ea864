"""How the service runs: one process, or a supervisor with several workers."""
