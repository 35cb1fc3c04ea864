"""Reads a batch in which every item is valid: by the request models' limits, with msgspec, into rows.

msgspec decodes and validates a thousand items in a third of the time that pydantic takes, but says less of what is
wrong. What this refuses goes to the request models: they have the last word, and they say why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta, defstruct
from msgspec.structs import astuple

from leeway.schema import Feature, FeatureSchema
from service.core.predictor import PredictionRequest
from service.http.schemas import MAX_ITEMS, MAX_USER_ID_LENGTH, PRINTABLE, limits, python_type

_PRINTABLE = PRINTABLE.removesuffix("$") + r"\Z"  # to Python's expressions, `$` also stands before a last line break


def batch_reader(schema: FeatureSchema) -> Callable[[bytes], list[PredictionRequest]]:
    """What reads the JSON of a batch for `schema`; it raises ValueError where anything in it is not valid."""
    features: Any = defstruct(
        "Features",
        [_field(f"f{place}", each) for place, each in enumerate(schema)],
        rename={f"f{place}": name for place, name in enumerate(schema.names)},
        forbid_unknown_fields=True,
        kw_only=True,
        gc=False,
    )
    user_id: Any = Annotated[str, Meta(min_length=1, max_length=MAX_USER_ID_LENGTH, pattern=_PRINTABLE)]
    item: Any = defstruct(
        "Item",
        [("user_id", user_id | None, None), ("features", features | None, None)],
        forbid_unknown_fields=True,
        gc=False,
    )
    items = Annotated[list[item], Meta(min_length=1, max_length=MAX_ITEMS)]
    batch: Any = defstruct("Batch", [("items", items)], forbid_unknown_fields=True)
    decoder = msgspec.json.Decoder(batch)

    def read(body: bytes) -> list[PredictionRequest]:
        read_items = decoder.decode(body).items
        if any((each.user_id is None) == (each.features is None) for each in read_items):
            raise ValueError("an item must hold exactly one of user_id and features")
        return [
            PredictionRequest(each.user_id, None if each.features is None else astuple(each.features))
            for each in read_items
        ]

    return read


def _field(attribute: str, feature: Feature) -> Any:  # noqa: ANN401 (a struct's field, made from the schema)
    """A field with the feature's type and limits; one that may be null may be absent, and is then there as None."""
    known = {name: limit for name, limit in limits(feature).items() if limit is not None}
    if "pattern" in known:
        known["pattern"] = _PRINTABLE
    kind: Any = Annotated[python_type(feature), Meta(**known)] if known else python_type(feature)
    return (attribute, kind | None, None) if feature.nullable else (attribute, kind)
