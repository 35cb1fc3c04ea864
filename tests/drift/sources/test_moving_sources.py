from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psycopg
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from msgspec.structs import replace

from drift.aggregates.duckdb import RowsChanged
from drift.sources.arguments import days_period
from drift.sources.errors import SourceError
from drift.sources.opening import opened
from drift.sources.reading import facts_of
from drift.sources.reference import SourceReference
from drift.sources.table import prediction_table
from drift.sources.window import read_source
from tests.drift.sources import tables
from tests.drift.sources.conftest import LIMITS

NOVEMBER = days_period(tables.CURRENT, tables.MAPPING)


def plain(postgresql: str) -> str:
    """The URL of the server as psycopg takes it."""
    return sa.make_url(postgresql).set(drivername="postgresql").render_as_string(hide_password=False)


def test_rows_that_arrive_meanwhile_do_not_count(postgresql: str, made: list[tuple[Any, ...]]) -> None:
    """All statements of a run see the same rows, while another connection writes."""
    url = tables.postgresql_table(postgresql, made[:2_000])
    with opened(url) as source, psycopg.connect(plain(postgresql), autocommit=True) as writer:
        table = prediction_table(source, tables.MAPPING)
        with table.snapshot() as view:
            before = facts_of(view, table, NOVEMBER, 10_000).rows
            writer.execute("INSERT INTO scored SELECT * FROM scored")
            assert facts_of(view, table, NOVEMBER, 10_000).rows == before
        with table.snapshot() as view:
            assert facts_of(view, table, NOVEMBER, 10_000).rows == 2 * before


def test_a_lost_connection_is_said(postgresql: str, made: list[tuple[Any, ...]]) -> None:
    """The server ends it in the middle of a run; the message names source and table, and the next run succeeds."""
    url = tables.postgresql_table(postgresql, made[:100])
    with opened(url) as source, psycopg.connect(plain(postgresql), autocommit=True) as admin:
        table = prediction_table(source, tables.MAPPING)

        def interrupted() -> None:
            with table.snapshot() as view:
                facts_of(view, table, NOVEMBER, 10_000)
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")
                facts_of(view, table, NOVEMBER, 10_000)

        with pytest.raises(SourceError, match=r"^postgresql://reader@.*, table scored: .*terminat"):
            interrupted()
        with table.snapshot() as view:
            facts_of(view, table, NOVEMBER, 10_000)


def test_files_that_change_are_said(
    made: list[tuple[Any, ...]], october: SourceReference, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Parquet file that is replaced while its rows are counted."""
    pq.write_table(tables.arrow(made), tmp_path / "scored.parquet")

    def changed(*_: object) -> Sequence[object]:
        raise RowsChanged("1,300 rows were read, where there were 1,200 before")

    monkeypatch.setattr("drift.aggregates.duckdb._Columns.count", changed)
    with opened(str(tmp_path / "scored.parquet")) as source:
        table = prediction_table(source, replace(tables.MAPPING, table=None))
        with pytest.raises(SourceError, match="table parquet: the files changed while they were read: 1,300 rows"):
            read_source(table, october, NOVEMBER, LIMITS)
