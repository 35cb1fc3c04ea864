"""The events of the service as metrics and spans."""
