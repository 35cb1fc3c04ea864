"""A fast path for valid requests for predictions; every other request takes FastAPI's own path.

FastAPI reads JSON into Python objects, resolves dependencies, and only then validates. Here the bytes are read at once
with msgspec, which decodes and validates in a fraction of the time but explains less, before they reach the ASGI
application (`service.http.protocol`). Where this path rejects a body, nothing has happened yet: FastAPI's path runs as
if this one did not exist, and explains what is invalid.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import replace
from time import perf_counter_ns
from typing import Annotated, Any, TypeAlias

import msgspec
from fastapi.concurrency import run_in_threadpool
from msgspec import Meta, defstruct
from msgspec.structs import astuple

from leeway.model.bundle import Bundle
from leeway.schema import TEXT_PATTERN, Feature, FeatureRow, FeatureSchema
from service.core.batching import Batcher, WaitingRequest, answer_alone
from service.core.pacing import paced, pause_if_many
from service.core.predictor import Prediction, PredictionRequest, Predictor
from service.http.keys import Gate
from service.http.problems import document, of_domain
from service.http.schemas import MAX_ITEMS, MAX_USER_ID_LENGTH, TYPES, limits, response_writer
from service.telemetry.probe import BATCH, SINGLE, BatchProbe, KeyProbe, RequestProbe

_log = logging.getLogger(__name__)
_TEXT = TEXT_PATTERN.removesuffix("$") + r"\Z"  # in Python's expressions `$` also matches before a final line break


ReadSingle: TypeAlias = Callable[[bytes | bytearray], PredictionRequest]
ReadBatch: TypeAlias = Callable[[bytes | bytearray], list[PredictionRequest]]


def single_reader(schema: FeatureSchema) -> ReadSingle:
    """A function that reads the JSON of a single prediction for `schema`; it raises ValueError if it is invalid."""
    decode, decode_leniently = _decoders(schema, lambda item: item)

    def read(body: bytes | bytearray) -> PredictionRequest:
        try:
            item = decode(body)
        except msgspec.ValidationError:
            item = decode_leniently(body)
            return _request(item.user_id, item.features and _with_integers(schema, item.features))
        return _request(item.user_id, item.features and astuple(item.features))

    return read


def batch_reader(schema: FeatureSchema) -> ReadBatch:
    """A function that reads the JSON of a batch for `schema`; it raises ValueError if any item is invalid."""
    decode, decode_leniently = _decoders(schema, _batch_of)

    def read(body: bytes | bytearray) -> list[PredictionRequest]:
        try:
            return [_request(each.user_id, each.features and astuple(each.features)) for each in decode(body).items]
        except msgspec.ValidationError:
            items = decode_leniently(body).items
            return [_request(each.user_id, each.features and _with_integers(schema, each.features)) for each in items]

    return read


def _batch_of(item: type[msgspec.Struct]) -> type[msgspec.Struct]:
    items: Any = Annotated[list[item], Meta(min_length=1, max_length=MAX_ITEMS)]  # type: ignore[valid-type]
    return defstruct("Batch", [("items", items)], forbid_unknown_fields=True)


def _with_integers(schema: FeatureSchema, features: msgspec.Struct) -> FeatureRow:
    row = astuple(features)
    return tuple(
        each.validate(value) if each.kind == "integer" else value for each, value in zip(schema, row, strict=True)
    )


def _request(user_id: str | None, features: FeatureRow | None) -> PredictionRequest:
    if (user_id is None) == (features is None):
        raise ValueError("an item must contain exactly one of user_id and features")
    return PredictionRequest(user_id, features)


def _decoders(
    schema: FeatureSchema, body_of: Callable[[type[msgspec.Struct]], type[msgspec.Struct]]
) -> tuple[Callable[[bytes | bytearray], Any], Callable[[bytes | bytearray], Any]]:
    """The decoder of bodies, and a slower one, rarely needed, that accepts 40.0 as an integer."""
    strict, lenient = (
        msgspec.json.Decoder(body_of(_item(schema, integers_as_floats=integers_as_floats)))
        for integers_as_floats in (False, True)
    )
    return strict.decode, lenient.decode


def _item(schema: FeatureSchema, *, integers_as_floats: bool) -> type[msgspec.Struct]:
    features: Any = defstruct(
        "Features",
        [_field(f"f{place}", each, integers_as_floats) for place, each in enumerate(schema)],
        rename={f"f{place}": name for place, name in enumerate(schema.names)},
        forbid_unknown_fields=True,
        kw_only=True,
        gc=False,
    )
    user_id: Any = Annotated[str, Meta(min_length=1, max_length=MAX_USER_ID_LENGTH, pattern=_TEXT)]
    return defstruct(
        "Item",
        [("user_id", user_id | None, None), ("features", features | None, None)],
        forbid_unknown_fields=True,
        gc=False,
    )


def _field(attribute: str, feature: Feature, integers_as_floats: bool) -> Any:  # noqa: ANN401, FBT001 (a struct's field)
    """A field with the feature's type and limits; a nullable one may be left out, and is None then."""
    known = {name: limit for name, limit in limits(feature).items() if limit is not None}
    if "pattern" in known:
        known["pattern"] = _TEXT
    kind: Any = Annotated[TYPES[feature.kind], Meta(**known)]
    if integers_as_floats and feature.kind == "integer":
        kind |= Annotated[float, Meta(**known)]
    return (attribute, kind | None, None) if feature.nullable else (attribute, kind)


# --- answers ----------------------------------------------------------------------------------------------------------


class HttpRequest(WaitingRequest):
    """A request for predictions that came over HTTP."""

    __slots__ = ("body", "key_name")

    body: bytearray
    key_name: str | None
    """The name of its API key; None where none is needed."""

    @abstractmethod
    def respond(self, body: bytes) -> None:
        """Send the JSON of the answer, unless the client disconnected, and release what only the response needed."""


class FastPath:
    """Answers valid requests for predictions; `service.http.protocol` finds them among those of a connection.

    `is_open` is called for each request; it returns False while faults are active, which apply at random. With
    `gate`, a request needs an API key.
    """

    def __init__(
        self,
        bundle: Bundle,
        predictor: Predictor,
        probe: RequestProbe,
        *,
        is_open: Callable[[], bool],
        gate: Gate | None = None,
        root_path: str = "",
    ) -> None:
        self.probe = probe
        self.is_open = is_open
        self.gate = gate
        self._count_key = (gate.probe if gate else KeyProbe()).admitted_below_asgi
        self.singles, self.batches = (
            frozenset({path.encode(), root_path.encode() + path.encode()}) for path in (SINGLE, BATCH)
        )
        """The targets of both kinds of requests, with and without the prefix of a proxy."""
        self.read = single_reader(bundle.schema)
        """Reads a single prediction's body, or raises ValueError."""
        batcher: Batcher[HttpRequest] = Batcher(predictor, self._finish, scores_in_thread=bundle.card.scorer != "onnx")
        self.submit = batcher.submit
        """Answers a single prediction together with those that arrive in the same turn of the event loop."""
        self._read_batch = batch_reader(bundle.schema)
        self._predictor = predictor
        self._response = response_writer(bundle.schema, {"name": bundle.name, "version": bundle.version})
        self._encode = msgspec.json.Encoder().encode
        self._batches: set[asyncio.Task[None]] = set()

    def _finish(self, waiting_together: Sequence[HttpRequest]) -> None:
        answered = []
        for waiting in waiting_together:
            trace = waiting.trace
            prediction = Prediction(waiting.record, waiting.recorded, trace.trace_id if trace else None)
            try:
                body = self._encode(self._response(prediction))
            except Exception:  # noqa: BLE001 (a boundary: the application repeats the request, and explains the error)
                answer_alone([waiting])
                continue
            waiting.respond(body)
            waiting.answered_ns = perf_counter_ns()
            if waiting.key_name is not None:
                self._count_key(waiting.key_name)
            answered.append(waiting)
        if answered:
            self.probe.answered(answered)

    def submit_batch(self, waiting: HttpRequest) -> None:
        """Answer a client's own batch in a thread, by itself."""
        task = asyncio.get_running_loop().create_task(self._answer_batch(waiting), context=Context())
        self._batches.add(task)
        task.add_done_callback(self._batches.discard)

    async def _answer_batch(self, waiting: HttpRequest) -> None:
        try:
            answer = await run_in_threadpool(self._predict_batch, waiting)
        except Exception:  # noqa: BLE001 (a boundary: the application repeats the request, and explains the error)
            answer_alone([waiting])
            return
        if answer is None:
            waiting.abandon()
            return
        body, batch, items = answer
        waiting.respond(body)
        waiting.answered_ns = perf_counter_ns()
        if waiting.key_name is not None:
            self._count_key(waiting.key_name)
        self.probe.batch_answered(waiting, batch, items)

    def _predict_batch(self, waiting: HttpRequest) -> tuple[bytes, BatchProbe, int] | None:
        """The response, what happened, and the number of items; None if the client disconnected.

        Raises:
            Exception: the body is invalid, or nothing is answered and recorded.
        """
        if not waiting.is_open:
            return None
        requests, trace = self._read_batch(waiting.body), waiting.trace
        pause_if_many(len(requests))
        batch = BatchProbe(trace)
        answers = replace(self._predictor, probe=batch).predict_batch(requests)
        results = [
            self._response(each) if isinstance(each, Prediction) else {"error": document(of_domain(each), trace)}
            for each in paced(answers)
        ]
        pause_if_many(len(results))
        body = self._encode({"results": results})
        pause_if_many(len(results))
        try:
            self.probe.batch_measured(batch)
        except Exception:  # noqa: BLE001 (a boundary: the batch is recorded, and must not be predicted again)
            _log.exception("a batch could not be measured")
        return body, batch, len(requests)
