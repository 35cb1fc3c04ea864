"""Reads a batch in which every item is valid: by the request models' limits, into plain dictionaries.

A model instance for each of a thousand items and their features costs more than it is worth where all that is asked of
it is its values. What this refuses, the request models refuse as well, and they say why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, NotRequired

from pydantic import Field, TypeAdapter
from typing_extensions import TypedDict  # comes with pydantic, which on Python 3.11 takes no other

from leeway.schema import FeatureSchema
from service.predictor import PredictionRequest
from service.schemas import MAX_ITEMS, Strict, UserId, value_type

_typed_dict: Any = TypedDict  # for a type checker its keys would have to stand here; ours come from the schema


def batch_reader(schema: FeatureSchema) -> Callable[[bytes], list[PredictionRequest]]:
    """What reads the JSON of a batch for `schema`; it raises ValueError where anything in it is not valid."""
    features = _strict("Features", {each.name: _entry(value_type(each), nullable=each.nullable) for each in schema})
    item = _strict("Item", {"user_id": _entry(UserId, nullable=True), "features": _entry(features, nullable=True)})
    items = Annotated[list[item], Field(min_length=1, max_length=MAX_ITEMS)]  # type: ignore[valid-type]  # made above
    adapter: TypeAdapter[Any] = TypeAdapter(_strict("Batch", {"items": items}))

    def read(body: bytes) -> list[PredictionRequest]:
        requests = [
            PredictionRequest(each["user_id"], each["features"]) for each in adapter.validate_json(body)["items"]
        ]
        if any((user_id is None) == (values is None) for user_id, values, _ in requests):
            raise ValueError("an item must hold exactly one of user_id and features")
        return requests

    return read


def _entry(kind: Any, *, nullable: bool) -> Any:  # noqa: ANN401 (types, made from the schema)
    """An entry of this type; one that may be null may be absent, and is then there as None."""
    return NotRequired[Annotated[kind | None, Field(default=None)]] if nullable else kind


def _strict(name: str, entries: dict[str, Any]) -> Any:  # noqa: ANN401 (as above)
    made = _typed_dict(name, entries)
    made.__pydantic_config__ = Strict.model_config
    return made
