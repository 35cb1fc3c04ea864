from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from drift.report.page import render_index, render_run
from drift.report.page.summary import SummaryError, read_summary
from tests.drift.documents import result, unknown
from tests.drift.results import result_document


@pytest.mark.parametrize("document", [result(), unknown(1), result_document(), result_document(current=None)])
def test_every_result_can_be_shown(document: dict[str, Any]) -> None:
    """Results with nulls in any place make both pages."""
    run = read_summary(document)
    assert run.run_id in render_index([run], ()) + render_run(run, ())


@pytest.mark.parametrize(
    "changes",
    [
        {"schema": 2},
        {"schema": None},
        {"run_id": "../../etc/passwd"},
        {"recommendation": "PANIC"},
        {"share": float("nan")},
        {"features": 7},
        {"current": {"to": "0001-01-01T00:00:00+05:00"}},
        {"verdicts": {"quality": {"state": "fine"}}},
    ],
)
def test_other_documents_are_refused(changes: dict[str, Any]) -> None:
    """What is not of schema 1 is refused, with the place in the message."""
    with pytest.raises(SummaryError, match=next(iter(changes))):
        read_summary(result() | changes)


def test_a_run_without_times_stands_where_its_id_says() -> None:
    """A UUIDv7 holds the time at which it was made."""
    run = read_summary(result_document(current=None))
    assert run.time == datetime.fromtimestamp(0x01A20725BECC / 1_000, UTC)


def test_the_documented_example_can_be_shown() -> None:
    """The example of docs/results.md is a result of schema 1 with every documented member."""
    text = (Path(__file__).parents[4] / "docs" / "results.md").read_text()
    example = json.loads(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1])  # type: ignore[index]  # or it fails here
    assert example.keys() == result().keys()
    assert example["features"][0].keys() == result()["features"][0].keys()
    assert example["run_id"] in render_run(read_summary(example), ())
