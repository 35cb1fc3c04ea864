"""A fast path for valid bodies; every other body takes FastAPI's own path.

FastAPI reads JSON into Python objects, resolves dependencies, and only then validates. The two routes that carry nearly
all requests read the bytes at once: a single prediction with the request models themselves, a batch with msgspec, which
decodes and validates a thousand items in a third of pydantic's time but explains less. Where the fast path rejects a
body, the content type is another, or the request has a header that the route reads (`leeway-synthetic`), nothing has
happened yet: FastAPI's path runs as if this one did not exist, explains what is invalid, and reads the header.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from msgspec import Meta, defstruct
from msgspec.structs import astuple
from starlette.requests import ClientDisconnect

from leeway.schema import TEXT_PATTERN, Feature, FeatureRow, FeatureSchema
from service.core.predictor import PredictionRequest
from service.http.schemas import MAX_ITEMS, MAX_USER_ID_LENGTH, TYPES, limits

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


def batch_reader(schema: FeatureSchema) -> Callable[[bytes], list[PredictionRequest]]:
    """A function that reads the JSON of a batch for `schema`; it raises ValueError where any item is invalid."""
    decoder = _decoder(schema, integers_as_floats=False)
    lenient_decoder = _decoder(schema, integers_as_floats=True)  # rarely needed, and slower: 40.0 is an integer, too

    def read(body: bytes) -> list[PredictionRequest]:
        try:
            return [
                _request(each.user_id, each.features and astuple(each.features)) for each in decoder.decode(body).items
            ]
        except msgspec.ValidationError:
            items = lenient_decoder.decode(body).items
            return [_request(each.user_id, each.features and with_integers(each.features)) for each in items]

    def with_integers(features: msgspec.Struct) -> FeatureRow:
        row = astuple(features)
        return tuple(
            each.validate(value) if each.kind == "integer" else value for each, value in zip(schema, row, strict=True)
        )

    return read


def _request(user_id: str | None, features: FeatureRow | None) -> PredictionRequest:
    if (user_id is None) == (features is None):
        raise ValueError("an item must contain exactly one of user_id and features")
    return PredictionRequest(user_id, features)


def _decoder(schema: FeatureSchema, *, integers_as_floats: bool) -> msgspec.json.Decoder[Any]:
    features: Any = defstruct(
        "Features",
        [_field(f"f{place}", each, integers_as_floats) for place, each in enumerate(schema)],
        rename={f"f{place}": name for place, name in enumerate(schema.names)},
        forbid_unknown_fields=True,
        kw_only=True,
        gc=False,
    )
    user_id: Any = Annotated[str, Meta(min_length=1, max_length=MAX_USER_ID_LENGTH, pattern=_TEXT)]
    item: Any = defstruct(
        "Item",
        [("user_id", user_id | None, None), ("features", features | None, None)],
        forbid_unknown_fields=True,
        gc=False,
    )
    items = Annotated[list[item], Meta(min_length=1, max_length=MAX_ITEMS)]
    return msgspec.json.Decoder(defstruct("Batch", [("items", items)], forbid_unknown_fields=True))


def _field(attribute: str, feature: Feature, integers_as_floats: bool) -> Any:  # noqa: ANN401, FBT001 (a struct's field)
    """A field with the feature's type and limits; a nullable one may be left out, and is None then."""
    known = {name: limit for name, limit in limits(feature).items() if limit is not None}
    if "pattern" in known:
        known["pattern"] = _TEXT
    kind: Any = Annotated[TYPES[feature.kind], Meta(**known)]
    if integers_as_floats and feature.kind == "integer":
        kind |= Annotated[float, Meta(**known)]
    return (attribute, kind | None, None) if feature.nullable else (attribute, kind)
