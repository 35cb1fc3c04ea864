"""From findings to verdicts, a decision and a recommendation."""
