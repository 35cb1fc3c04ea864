"""Marks the requests that met a fault, by the semantic conventions for feature flags."""

from __future__ import annotations

from opentelemetry import trace

from leeway.telemetry import names


class OTelFaultProbe:
    """Tells the current request's span.

    The conventions make an event of each evaluation; all that struck a request are there. The same attributes stand
    on the span itself, where searches look: of several faults those of the last.
    """

    def struck(self, fault: str, value: str | None, probability: float) -> None:
        """See `service.core.faults.FaultProbe`."""
        span = trace.get_current_span()
        if not span.is_recording():
            return
        attributes = {
            names.FLAG_KEY: fault,
            names.FLAG_VARIANT: "on",
            names.FLAG_REASON: "split" if probability < 1 else "static",  # the conventions' words: by chance, or always
            names.FLAG_PROVIDER: "leeway",
        }
        if value is not None:
            attributes[names.FLAG_VALUE] = value
        span.set_attributes(attributes)
        span.add_event(names.EVENT_FLAG_EVALUATED, attributes)
