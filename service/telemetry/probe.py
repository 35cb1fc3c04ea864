"""The service's events, in the domain's terms.

Each base class is its own null version: the methods do nothing. `service.telemetry.otel` reports to OpenTelemetry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol, TypeAlias

from msgspec import Struct

from leeway.store.record import PredictionRecord

SINGLE, BATCH = "/predict", "/predict/batch"
"""The routes whose requests can be answered below ASGI."""
REJECTION_REASONS = ("missing", "wrong_type", "out_of_range", "unknown", "malformed")
"""`error.type` of `leeway.request.rejected`."""

Cause: TypeAlias = tuple[str | None, str]
"""Why an item was rejected: the feature at fault (None: no particular one), and one of `REJECTION_REASONS`."""


class TraceRef(Struct, frozen=True, gc=False):
    """A request's trace and its server span: 32 and 16 hex digits."""

    trace_id: str
    span_id: str
    sampled: bool


class ModelCall(Struct, frozen=True, gc=False):
    """One call of the model: when it began (Unix time), how long it took, with the encoding and without.

    `unusual` names each row's unusual features.
    """

    began_at_ns: int
    duration_ns: int
    inference_ns: int
    unusual: Sequence[tuple[str, ...]]


class LookupCall(Struct, frozen=True, gc=False):
    """One lookup of snapshots: when it began (Unix time), and how long it took.

    It looked for `asked` customers and found `found` of them. `error` is the type of the error, if it failed.
    """

    began_at_ns: int
    duration_ns: int
    asked: int = 1
    found: int = 1
    error: str | None = None


class PredictionProbe:
    """Receives the events of predictions."""

    def trace_ref(self) -> TraceRef | None:
        """The trace to name in the response; None if telemetry is off."""
        return None

    def looked_up(self, call: LookupCall) -> None:
        """Snapshots were looked up, found or not."""

    def scored(self, call: ModelCall) -> None:
        """The model was called."""

    def answered(self, record: PredictionRecord, duration_s: float, *, recorded: bool) -> None:
        """A single prediction was answered."""

    def batch_received(self, items: int) -> None:
        """A batch of this many items arrived, valid or not."""

    def batch_answered(self, records: Sequence[PredictionRecord]) -> None:
        """A batch was answered."""

    def failed(self, error_type: str, duration_s: float) -> None:
        """A single prediction failed."""

    def rejected(self, causes: Sequence[Cause], *, is_synthetic: bool = False) -> None:
        """One item was rejected before scoring, for these causes."""

    def record_spooled(self, count: int) -> None:
        """Answers were written to the spool."""

    def record_lost(self, count: int) -> None:
        """Answers were sent without a record."""


class BatchProbe(PredictionProbe):
    """Collects the events of a batch, to be reported once it is answered."""

    def __init__(self, trace: TraceRef | None) -> None:
        self.trace = trace
        self.lookup: LookupCall | None = None
        self.call: ModelCall | None = None
        self.records: Sequence[PredictionRecord] = ()

    def trace_ref(self) -> TraceRef | None:
        """See `PredictionProbe`."""
        return self.trace

    def looked_up(self, call: LookupCall) -> None:
        """See `PredictionProbe`."""
        self.lookup = call

    def scored(self, call: ModelCall) -> None:
        """See `PredictionProbe`."""
        self.call = call

    def batch_answered(self, records: Sequence[PredictionRecord]) -> None:
        """See `PredictionProbe`."""
        self.records = records


class TimedRequest(Protocol):
    """A request that was answered."""

    trace: TraceRef | None
    arrived_at_ns: int
    """Unix time."""
    arrived_ns: int
    """By `time.perf_counter_ns`, like `answered_ns`."""
    answered_ns: int


class AnsweredRequest(TimedRequest, Protocol):
    """One request that was answered together with others."""

    lookup: LookupCall | None
    call: ModelCall
    row: int
    """Its place in the call."""
    record: PredictionRecord
    recorded: bool


class KeyProbe:
    """Receives the requests that came with an API key, or without one."""

    def admitted(self, name: str) -> None:
        """A request has a key of this name that allows it."""

    def admitted_below_asgi(self, name: str) -> None:
        """Like `admitted`, for a request whose span is made later."""

    def rejected(self, reason: str, name: str | None) -> None:
        """A request has no key (missing), an unknown one, or one that does not allow it (forbidden, with a name)."""


Headers: TypeAlias = Sequence[tuple[bytes, bytes]]


class RequestProbe:
    """Receives the requests that are answered below ASGI, where no instrumentation sees them."""

    def client(self, scope: Mapping[str, object], key_name: str | None = None) -> object:
        """What telemetry keeps of a client, by the ASGI scope of its request and its API key; for `arrived`."""
        del scope, key_name
        return None

    def arrived(self, client: object, headers: Headers) -> TraceRef | None:
        """A request arrived: choose its trace. `headers` are those that may carry a trace context."""
        del client, headers
        return None

    def abandoned(self) -> None:
        """A request that arrived is answered by FastAPI, or its client disconnected."""

    def answered(self, requests: Sequence[AnsweredRequest]) -> None:
        """These single predictions were answered with status 200."""

    def batch_measured(self, batch: BatchProbe) -> None:
        """A batch was scored; callable from any thread."""

    def batch_answered(self, request: TimedRequest, batch: BatchProbe, items: int) -> None:
        """A batch of this many items was answered with status 200."""


class FaultProbe:
    """Receives the faults that were injected."""

    def fault_injected(self, fault: str, value: str | None, probability: float) -> None:
        """`fault`, of this probability, was injected into the current request; `value` is the length of a delay."""
