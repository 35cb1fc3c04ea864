"""The events of the service, and how they become metrics, spans and log lines."""
