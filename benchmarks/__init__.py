"""Commands that measure speed, memory and the power of drift detection; see README.md."""
