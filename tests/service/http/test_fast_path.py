"""The fast reader of a batch against the request models: they accept the same, with the same values."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import ValidationError

from leeway.schema import INT64_MAX, INT64_MIN
from service.core.predictor import PredictionRequest
from service.http.fast_path import batch_reader
from service.http.schemas import MAX_ITEMS, PredictItem, prediction_models
from tests.fixtures import AWKWARD_SCHEMA, awkward_row

ROW = awkward_row(1)
_ODD_VALUES: tuple[Any, ...] = (
    *(None, True, False, [], {}, "", "a", "é", "a\n", "a" * 200, "a" * 201, "1"),
    *(0, 1, 1.0, 1.5, -0.0, -5, -6, 1e308, float("nan"), float("inf"), INT64_MAX, INT64_MAX + 1, INT64_MIN - 1),
)


def _odd_items() -> Iterator[object]:
    for name in ROW:
        yield {"features": {key: value for key, value in ROW.items() if key != name}}
        yield from ({"features": {**ROW, name: value}} for value in _ODD_VALUES)
    yield from ({"user_id": value} for value in (*_ODD_VALUES, "a" * 128, "a" * 129))
    yield {"features": dict(reversed(ROW.items()))}
    yield {"features": {**ROW, "another": 1}}
    yield {"features": ROW, "user_id": None}
    yield {"features": None, "user_id": "a"}
    yield {"features": ROW, "user_id": "a"}
    yield {"features": None, "user_id": None}
    yield {"user_id": "a", "another": 1}
    yield from ({}, [], None, "a")


def _exactly(request: PredictionRequest) -> str:
    """A text that also distinguishes 1, 1.0 and True, and the order of features."""
    return repr(request)


def by_models(model: type[PredictItem], item: str) -> str | None:
    """How the request models read an item's JSON; None if they reject it."""
    try:
        return _exactly(model.model_validate_json(item).request())
    except ValidationError:
        return None


def by_reader(read: Callable[[bytes], list[PredictionRequest]], item: str) -> str | None:
    """How the fast reader reads a batch of this one item; None if it rejects it."""
    try:
        (request,) = read(f'{{"items": [{item}]}}'.encode())
    except ValueError:
        return None
    return _exactly(request)


def test_the_reader_accepts_what_the_models_accept() -> None:
    """Each odd value of each feature is read to the same result, or rejected by both."""
    model, read = prediction_models(AWKWARD_SCHEMA).item, batch_reader(AWKWARD_SCHEMA)
    found = [(by_models(model, each), by_reader(read, each), each) for each in map(json.dumps, _odd_items())]

    assert [each for each in found if each[0] != each[1]] == []
    assert {each[0] is None for each in found} == {True, False}


@pytest.mark.parametrize("count", [0, MAX_ITEMS + 1])
def test_the_reader_rejects_too_few_and_too_many(count: int) -> None:
    """A batch has 1 to 1,000 items."""
    with pytest.raises(ValueError, match="items"):
        batch_reader(AWKWARD_SCHEMA)(json.dumps({"items": [{"user_id": "a"}] * count}).encode())


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"items": null}', b'{"items": [], "more": 1}', b"\xff"])
def test_the_reader_rejects_other_bodies(body: bytes) -> None:
    """Bodies that are not JSON, or JSON of another shape, are rejected."""
    with pytest.raises(ValueError, match=r"JSON|truncated|object|array"):
        batch_reader(AWKWARD_SCHEMA)(body)


@pytest.mark.parametrize(
    "text",
    [
        *('"a\\ud800"', '"\\ud83d\\ude00"', '"a\\n"', '"a\\u0000"', '"\x7f"', '"a', "a"),
        *("1e999", "-1e999", "1e-999", "-0", "01", "1.", ".5", "+1", "0x1", "1_0", "NaN", "Infinity", "nul", "True"),
        *("9223372036854775808", "123456789012345678901234567890", "1E2", "1e2", "1.0", '"a", "user_id": "b"'),
    ],
)
def test_the_reader_reads_json_as_the_models_do(text: str) -> None:
    """Every notation of a value is read to the same result, or rejected by both."""
    model, read = prediction_models(AWKWARD_SCHEMA).item, batch_reader(AWKWARD_SCHEMA)
    row = json.dumps(ROW)[1:-1]
    texts = [f'{{"user_id": {text}}}', *(f'{{"features": {{{row}, "{name}": {text}}}}}' for name in ROW)]
    for item in texts:
        assert by_reader(read, item) == by_models(model, item), item
