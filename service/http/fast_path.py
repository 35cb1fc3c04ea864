"""A fast path for valid bodies; every other body takes FastAPI's own path.

FastAPI reads JSON into Python objects, resolves dependencies, and only then validates. The two routes that carry nearly
all requests read the bytes at once with msgspec, which decodes and validates in a fraction of the time but explains
less. Where the fast path rejects a body, the content type is another, or the request has a header that the route reads
(`leeway-synthetic`), nothing has happened yet: FastAPI's path runs as if this one did not exist, explains what is
invalid, and reads the header. Single predictions do not even reach the ASGI application: `service.http.protocol`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from time import perf_counter_ns
from typing import Annotated, Any, TypeAlias, TypeVar

import msgspec
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from msgspec import Meta, defstruct
from msgspec.structs import astuple
from starlette.requests import ClientDisconnect

from leeway.model.bundle import Bundle
from leeway.schema import TEXT_PATTERN, Feature, FeatureRow, FeatureSchema
from service.core.batching import Batcher, WaitingRequest
from service.core.predictor import Prediction, PredictionRequest, Predictor
from service.http.schemas import MAX_ITEMS, MAX_USER_ID_LENGTH, TYPES, limits, response_writer
from service.telemetry.probe import RequestProbe

Body = TypeVar("Body")
_TEXT = TEXT_PATTERN.removesuffix("$") + r"\Z"  # in Python's expressions `$` also matches before a final line break


def fast_route(
    read: Callable[[bytes], Body], answer: Callable[[Body], Awaitable[Response]], *, except_header: str
) -> type[APIRoute]:
    """A route class that passes a JSON body from `read`, which raises ValueError for an invalid one, to `answer`.

    A request with the header `except_header` takes FastAPI's path, which reads headers.
    """

    class FastRoute(APIRoute):
        """See `fast_route`."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            """The fast path, with FastAPI's behind it."""
            fastapi_handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                headers = request.headers
                if headers.get("content-type") != "application/json" or except_header in headers:
                    return await fastapi_handler(request)
                try:
                    body = read(await request.body())
                except (ValueError, ClientDisconnect):  # FastAPI answers a disconnected client with 400
                    return await fastapi_handler(request)
                return await answer(body)

            return handle

    return FastRoute


ReadSingle: TypeAlias = Callable[[bytes], PredictionRequest]
ReadBatch: TypeAlias = Callable[[bytes], list[PredictionRequest]]


def single_reader(schema: FeatureSchema) -> ReadSingle:
    """A function that reads the JSON of a single prediction for `schema`; it raises ValueError if it is invalid."""
    decode, decode_leniently = _decoders(schema, lambda item: item)

    def read(body: bytes) -> PredictionRequest:
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

    def read(body: bytes) -> list[PredictionRequest]:
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
) -> tuple[Callable[[bytes], Any], Callable[[bytes], Any]]:
    """The decoder of bodies, and a slower one, which is rarely needed: 40.0 is an integer, too."""
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


# --- single predictions, below ASGI -----------------------------------------------------------------------------------


class HttpRequest(WaitingRequest):
    """A single prediction that came over HTTP."""

    __slots__ = ()

    def respond(self, body: bytes) -> None:
        """Send the JSON of the answer, unless the client has gone."""
        raise NotImplementedError


class FastPath:
    """Answers valid single predictions; `service.http.protocol` finds them among the requests of a connection.

    `is_open` tells whether it may be used now: not while faults are active, which apply to each request by chance.
    """

    def __init__(
        self, bundle: Bundle, predictor: Predictor, probe: RequestProbe, *, is_open: Callable[[], bool]
    ) -> None:
        self.read = single_reader(bundle.schema)
        """Reads a body, or raises ValueError."""
        self.probe = probe
        self.is_open = is_open
        batcher: Batcher[HttpRequest] = Batcher(predictor, self._finish, scores_in_thread=bundle.card.scorer != "onnx")
        self.submit = batcher.submit
        """Answers a request together with those that arrive in the same turn of the event loop."""
        self._response = response_writer(bundle.schema, {"name": bundle.name, "version": bundle.version})
        self._encode = msgspec.json.Encoder().encode

    def _finish(self, batch: Sequence[HttpRequest]) -> None:
        for waiting in batch:
            trace = waiting.trace
            prediction = Prediction(waiting.record, recorded=True, trace_id=trace.trace_id if trace else None)
            waiting.respond(self._encode(self._response(prediction)))
            waiting.answered_ns = perf_counter_ns()
        self.probe.answered(batch)
