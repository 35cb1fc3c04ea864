"""What both processes agree on: schema, bundle, data, telemetry."""
