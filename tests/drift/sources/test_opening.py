from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from drift.sources.errors import SourceError
from drift.sources.opening import opened
from tests.drift.sources import tables


def test_columns_have_kinds(url: str) -> None:
    """What a column holds is known in each source, however the database calls it."""
    with opened(url) as source:
        (table,) = source.tables()
        kinds = {name: found.kind for name, found in source.columns(table).items()}
    time = "naive time" if url.startswith(("sqlite", "duckdb")) else "time"
    payload = "text" if "://" not in url else "json"
    assert kinds == {
        "ts": time, "request_id": "text", "customer": "text", "seq": "integer", "age": "integer", "income": "number",
        "vip": "flag", "country": "text", "payload": payload, "proba": "number", "outcome": "integer",
        "version": "text", "trace": "text", "span": "text",
    }  # fmt: skip


@pytest.mark.parametrize("statement", ["INSERT INTO scored (age) VALUES (1)", "CREATE TABLE mine (a INTEGER)"])
def test_nothing_can_be_written(url: str, statement: str) -> None:
    """Neither a row nor a table, whatever a condition in the mapping tries."""
    if "://" not in url:
        pytest.skip("Parquet files have no statements that write")
    with (
        opened(url) as source,
        pytest.raises(SourceError, match=r"read-?only|permission denied"),
        source.snapshot() as view,
    ):
        view.read(sa.text(statement))  # type: ignore[arg-type]


def test_no_file_is_made(made: list[tuple[Any, ...]], tmp_path: Path) -> None:
    """Not in a folder that could be written to, and not for a source that does not exist."""
    tables.sqlite_file(tmp_path / "shop.db", made[:50])
    tables.duckdb_file(tmp_path / "shop.duckdb", made[:50])
    tables.parquet_folder(tmp_path / "shop", made[:50])
    before = sorted(tmp_path.rglob("*"))
    for url in (f"sqlite:///{tmp_path}/shop.db", f"duckdb:///{tmp_path}/shop.duckdb", str(tmp_path / "shop")):
        with opened(url) as source, source.snapshot() as view:
            assert len(view.read(sa.select(sa.text("1")).select_from(source.from_clause(source.tables()[0])))) == 50
    for url in (f"sqlite:///{tmp_path}/none.db", f"duckdb:///{tmp_path}/none.duckdb", str(tmp_path / "*.pq")):
        with pytest.raises(SourceError, match=r"there is no (such|Parquet) file"), opened(url):
            pass
    assert sorted(tmp_path.rglob("*")) == before


def test_passwords_are_not_shown() -> None:
    """Not in the name of a source, which messages begin with."""
    with opened("postgresql+psycopg://reader:secret@127.0.0.1:1/shop") as source:
        assert source.name == "postgresql://reader:***@127.0.0.1:1/shop"
        with pytest.raises(
            SourceError, match=r"^postgresql://reader:\*\*\*@127.0.0.1:1/shop: .*[Cc]onnection"
        ) as error:
            source.tables()
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["mysql://db/shop", "http://shop.example/", "sqlite:/shop"])
def test_other_urls_are_rejected(url: str) -> None:
    """The message says what is supported."""
    with (
        pytest.raises(SourceError, match=r"use postgresql://|there is no (such|Parquet) file"),
        opened(url),
    ):
        pass


def test_a_statement_that_takes_too_long_is_cancelled(postgresql: str) -> None:
    """PostgreSQL ends it; the message says so."""
    with (
        opened(postgresql, timeout_s=0.1) as source,
        pytest.raises(SourceError, match="canceling statement due to statement timeout"),
        source.snapshot() as view,
    ):
        view.read(sa.select(sa.func.pg_sleep(30)))


def test_a_locked_duckdb_file_is_explained(tmp_path: Path) -> None:
    """While another process writes to it nobody can read it."""
    file = tmp_path / "shop.duckdb"
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); c.execute('CREATE TABLE a (b INT)')"
    code += "; print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as writer:
        assert writer.stdout
        assert writer.stdin
        writer.stdout.readline()
        with (
            pytest.raises(SourceError, match=r"shop.duckdb: another process writes to the file"),
            opened(f"duckdb:///{file}"),
        ):
            pass
        writer.communicate(b"\n")


def test_a_half_written_parquet_file_is_explained(made: list[tuple[Any, ...]], tmp_path: Path) -> None:
    """A file without its end, as a writer leaves it that was killed."""
    whole = tmp_path / "whole.parquet"
    pq.write_table(tables.arrow(made[:50]), whole)
    (tmp_path / "half.parquet").write_bytes(whole.read_bytes()[:2_000])
    with opened(str(tmp_path)) as source, pytest.raises(SourceError, match="a Parquet file is damaged or half-written"):
        source.columns("parquet")


def test_an_unknown_table_is_named_with_those_that_exist(url: str) -> None:
    """The message names the source and its tables."""
    with opened(url) as source, pytest.raises(SourceError, match=r"table none: there is no such table; found: \w+"):
        source.columns("none")


def test_columns_of_other_types_are_known(tmp_path: Path) -> None:
    """Dates, decimals, structs and lists of Parquet; mixed values of SQLite."""
    columns = {"day": ["2026-01-01"], "price": ["1.5"], "inside": [{"a": 1}], "many": [[1]]}
    arrow = pa.table(columns)
    arrow = arrow.set_column(0, "day", arrow["day"].cast(pa.date32()))
    arrow = arrow.set_column(1, "price", pa.array([1.5]).cast(pa.decimal128(5, 2)))
    pq.write_table(arrow, tmp_path / "a.parquet")
    with opened(str(tmp_path / "a.parquet")) as source:
        kinds = [found.kind for found in source.columns("parquet").values()]
    assert kinds == ["date", "number", "json", "other"]
    with sqlite3.connect(tmp_path / "a.db") as connection:
        connection.execute("CREATE TABLE a (mixed, whole, day TEXT, empty REAL)")
        connection.executemany("INSERT INTO a VALUES (?, ?, ?, NULL)", [("x", 1, "2026-01-01"), (1, 2, "2026-01-02")])
    connection.close()
    with opened(f"sqlite:///{tmp_path}/a.db") as source:
        assert [found.kind for found in source.columns("a").values()] == ["other", "integer", "date", "number"]


def test_a_duckdb_file_has_schemas(tmp_path: Path) -> None:
    """A table outside the default schema has it before its name."""
    with duckdb.connect(str(tmp_path / "a.duckdb")) as connection:
        connection.execute("CREATE SCHEMA shop; CREATE TABLE shop.scored (a INTEGER)")
    with opened(f"duckdb:///{tmp_path}/a.duckdb") as source:
        assert source.tables() == ["shop.scored"]
        assert list(source.columns("shop.scored")) == ["a"]


def test_duckdb_keeps_to_itself(made: list[tuple[Any, ...]], tmp_path: Path) -> None:
    """No progress bar on standard output, no folder to spill into, no downloads."""
    pq.write_table(tables.arrow(made[:50]), tmp_path / "a.parquet")
    names = ("enable_progress_bar", "temp_directory", "autoinstall_known_extensions", "autoload_known_extensions")
    with opened(str(tmp_path / "a.parquet")) as source, source.snapshot() as view:
        ((*values,),) = view.read(sa.select(*(sa.func.current_setting(name) for name in names)))
    assert values == [False, "", False, False]
