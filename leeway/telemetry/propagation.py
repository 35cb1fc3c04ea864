"""How trace context arrives with a request: what `OTEL_PROPAGATORS` lists."""

from __future__ import annotations

from opentelemetry.context import Context
from opentelemetry.propagate import get_global_textmap
from opentelemetry.propagators.textmap import (
    CarrierT,
    Getter,
    Setter,
    TextMapPropagator,
    default_getter,
    default_setter,
)


def propagator() -> TextMapPropagator:
    """The propagators of the environment, which the API reads when it is imported."""
    found = get_global_textmap()
    return found if found.fields else NoPropagation()


class NoPropagation(TextMapPropagator):
    """What `none` stands for; the API's own empty propagator extracts None instead of a context, and requests fail."""

    def extract(
        self, carrier: CarrierT, context: Context | None = None, getter: Getter[CarrierT] = default_getter
    ) -> Context:
        """Every trace is new."""
        del carrier, getter
        return context or Context()

    def inject(
        self, carrier: CarrierT, context: Context | None = None, setter: Setter[CarrierT] = default_setter
    ) -> None:
        """Nothing is sent on."""

    @property
    def fields(self) -> set[str]:
        """No header."""
        return set()
