"""What the service does, without HTTP, SQL or telemetry."""
