"""Names, providers and log records of our telemetry; knows nothing of the domain."""
