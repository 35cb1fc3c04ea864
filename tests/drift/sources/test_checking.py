from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from msgspec.structs import replace

from drift.sources.arguments import days_period
from drift.sources.checking import check
from drift.sources.errors import SourceError
from drift.sources.mapping import Mapping
from drift.sources.opening import opened
from drift.sources.proposal import propose
from drift.sources.reading import facts_of
from drift.sources.table import prediction_table
from tests.drift.sources import tables
from tests.drift.sources.test_window import mapping_for


def problems(url: str, mapping: Mapping) -> list[str]:
    """What is wrong."""
    with opened(url) as source:
        return [str(each) for each in check(source, mapping)[0]]


def test_a_mapping_that_fits_is_described(url: str) -> None:
    """Nothing is wrong in each source; rows, times, columns and features are listed."""
    with opened(url) as source:
        found, facts = check(source, mapping_for(url))
    assert found == []
    assert "2,440 rows from 2026-10-01" in facts[0]
    assert "time ts, id request_id, subject customer, order seq, score proba" in facts[1]
    assert facts[2] == "5 features: age (integer), income (number), vip (flag), country (category), basket (number)"


def test_a_proposal_fits(url: str) -> None:
    """What `init` proposes for a table passes `check`, but for JSON, which it asks to name."""
    with opened(url) as source:
        mapping, notes = propose(source, None)
        assert check(source, mapping)[0] == []
    assert mapping.columns == tables.MAPPING.columns
    assert mapping.features == {name: name for name in ("age", "income", "vip", "country")}
    assert "payload is JSON: name its features under `features`, such as age: payload.age" in notes
    assert any(note.startswith("time is ts (") for note in notes)


def changed(**columns: str) -> Mapping:
    """The mapping with other columns."""
    return replace(tables.MAPPING, columns={**tables.MAPPING.columns, **columns})


def features(**columns: str) -> Mapping:
    """The mapping with these features."""
    return replace(tables.MAPPING, features=columns)


TIMES = "times or times without a zone or dates"


@pytest.mark.parametrize(
    ("mapping", "expected"),
    [
        (changed(score="proba2"), ["table scored, column proba2: there is no such column for `score`; found: ts, "]),
        (
            changed(score="country"),
            ["column country: `score` must be numbers or whole numbers, but the column is text"],
        ),
        (changed(time="seq"), [f"column seq: `time` must be {TIMES}, but the column is bigint"]),
        (features(x="nothing"), ["column nothing: there is no such column for feature 'x'"]),
        (features(x="age.years"), ["column age: feature 'x' is at age.years, but the column is integer"]),
        (features(x="payload.none"), ["column payload: feature 'x': the first rows hold no number"]),
        (features(**{"1 x": "age"}), ["column age: feature name '1 x': start with a letter"]),
        (replace(tables.MAPPING, table="none"), ["table none: there is no such table; found: scored"]),
        (replace(tables.MAPPING, where="town = 1"), ["table scored: no such column: town"]),
        (replace(tables.MAPPING, labels=tables.LABELS), ["table outcomes: there is no such table"]),
        (Mapping(), ["column predicted_at: there is no such column for `time`; name it under `columns`"]),
        (changed(score="a", label="b"), ["column a: there is no such column", "column b: there is no such column"]),
    ],
)
def test_each_problem_is_a_line(sqlite_url: str, mapping: Mapping, expected: list[str]) -> None:
    """It names source, table and column, and all problems are reported at once."""
    found = problems(sqlite_url, mapping)
    assert len(found) == len(expected)
    assert all(line.startswith(sqlite_url) for line in found)
    assert [line for line, part in zip(found, expected, strict=True) if part not in line] == []


@pytest.mark.parametrize("form", ["%Y-%m-%d %H:%M:%S", "%Y-%m-%dT%H:%M:%SZ", "%Y-%m-%d %H:%M:%S.000+00:00", "%Y-%m-%d"])
def test_times_as_text_in_sqlite(made: list[tuple[Any, ...]], tmp_path: Path, form: str) -> None:
    """Each usual form of UTC is compared correctly."""
    url = tables.sqlite_file(tmp_path / "shop.db", made, form=form)
    with opened(url) as source:
        table = prediction_table(source, tables.MAPPING)
        with source.snapshot() as view:
            facts = facts_of(view, table, days_period("2026-10-31..2026-11-01", tables.MAPPING), 1_000)
    assert facts.rows == 80


def test_times_with_other_offsets_are_rejected(made: list[tuple[Any, ...]], tmp_path: Path) -> None:
    """SQLite compares text: 10:00+02:00 would come after 09:00Z."""
    url = tables.sqlite_file(tmp_path / "shop.db", made[:50], form="%Y-%m-%d %H:%M:%S+02:00")
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        connection.execute("UPDATE scored SET ts = replace(ts, '+02:00', 'Z') WHERE seq > 40")
    connection.close()
    (problem,) = problems(url, tables.MAPPING)
    assert "table scored, column ts: holds times with different offsets as text" in problem
    with opened(url) as source, pytest.raises(SourceError, match="store them in UTC"):
        prediction_table(source, tables.MAPPING)


def test_text_is_no_time(made: list[tuple[Any, ...]], tmp_path: Path) -> None:
    """Parquet with times as text: a hint says what to do."""
    table = tables.arrow([(row[0].isoformat(), *row[1:]) for row in made[:50]])
    pq.write_table(table, tmp_path / "a.parquet")
    (problem,) = problems(str(tmp_path / "a.parquet"), replace(tables.MAPPING, table=None))
    assert "column ts: `time` must be times or times without a zone or dates, but the column is varchar" in problem
    assert "use a view that casts it" in problem
