"""The attributes of each span. A test compares this table with the spans that are sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from leeway.telemetry import names


@dataclass(frozen=True)
class Span:
    """One kind of span; `constant` is the constant of its name in `leeway.telemetry.names`, `parent` its parent span.

    `events` are constants as well; the attributes of an event are listed with the span's.
    """

    constant: str
    sender: Literal["service", "drift worker", "traffic"]
    kind: Literal["SERVER", "CLIENT", "INTERNAL"]
    parent: str = ""
    attributes: tuple[str, ...] = ()
    events: tuple[str, ...] = ()
    link_attributes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The span's name, or its pattern."""
        return str(getattr(names, self.constant))


SPANS: Final = (
    Span(
        "SPAN_SERVER", "service", "SERVER", "the client's span, if it sends one",
        (
            names.PREDICTION_ID, names.PREDICTION_SCORE, names.OUTCOME, names.MODEL_VERSION, names.TYPICALITY,
            names.UNUSUAL_COUNT, names.PREDICTION_RECORDED, names.PREDICTION_SYNTHETIC, names.BATCH_SIZE,
            names.ERROR_TYPE, names.FLAG_KEY, names.FLAG_VARIANT, names.FLAG_VALUE, names.FLAG_REASON,
            names.FLAG_PROVIDER, names.API_KEY_NAME, names.CLIENT_ADDRESS, names.USER_AGENT,
        ),
        events=("EVENT_FLAG_EVALUATED",),
    ),
    Span(
        "SPAN_SNAPSHOT_LOOKUP", "service", "INTERNAL", "the request's",
        (names.SNAPSHOT_FOUND, names.SNAPSHOT_ASKED, names.ERROR_TYPE),
    ),
    Span(
        "SPAN_SCORE", "service", "INTERNAL", "the request's",
        (names.MODEL_VERSION, names.UNUSUAL_COUNT, names.UNUSUAL_NAMES, names.SCORE_ROWS),
    ),
    Span(
        "SPAN_DRIFT_RUN", "drift worker", "INTERNAL", "",
        (
            names.DRIFT_RUN_ID, names.DRIFT_WINDOW_START, names.DRIFT_WINDOW_END, names.DRIFT_RECOMMENDATION,
            names.DRIFT_DECISION, names.DRIFT_REASON, names.DRIFT_SHARE.name, names.DRIFT_ROWS, names.DRIFT_SUBJECTS,
            names.DRIFT_DETECTED_FEATURES, names.DRIFT_REPORT_URL, names.MODEL_VERSION, names.ERROR_TYPE,
        ),
        link_attributes=(names.PREDICTION_ID, names.UNUSUAL_COUNT),
    ),
    Span("SPAN_LOAD_REFERENCE", "drift worker", "INTERNAL", "the run's"),
    Span("SPAN_LOAD_WINDOW", "drift worker", "INTERNAL", "the run's"),
    Span("SPAN_COMPARE", "drift worker", "INTERNAL", "the run's"),
    Span("SPAN_JUDGE", "drift worker", "INTERNAL", "the run's"),
    Span("SPAN_PUBLISH", "drift worker", "INTERNAL", "the run's"),
    Span(
        "SPAN_CLIENT", "traffic", "CLIENT", "",
        (
            names.HTTP_METHOD, names.SERVER_ADDRESS, names.SERVER_PORT, names.URL_FULL, names.URL_TEMPLATE,
            names.HTTP_STATUS, names.TRAFFIC_KIND, names.TRAFFIC_DRIFT, names.ERROR_TYPE,
        ),
    ),
)  # fmt: skip
"""All spans. The instrumentation adds `http.*` and `url.*` attributes of the semantic conventions to server spans."""
