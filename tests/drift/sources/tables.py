"""The predictions of a service that does not know Leeway, in each kind of source."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from zoneinfo import ZoneInfo

import duckdb
import numpy as np
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import sqlalchemy as sa

from drift.sources.mapping import LabelTable, Mapping, ModelNames

FIRST, ROWS_A_DAY, DAYS = date(2026, 10, 1), 40, 61
"""October and November."""
BERLIN: Final = ZoneInfo("Europe/Berlin")
COUNTRIES: Final = ("de", "fr", "it")
REFERENCE, CURRENT = "2026-10-01..2026-10-31", "2026-11-01..2026-11-30"
MAPPING: Final = Mapping(
    table="scored",
    columns={
        "time": "ts",
        "id": "request_id",
        "subject": "customer",
        "order": "seq",
        "score": "proba",
        "label": "outcome",
        "model_version": "version",
        "trace_id": "trace",
        "span_id": "span",
    },
    features={"age": "age", "income": "income", "vip": "vip", "country": "country", "basket": "payload.basket.total"},
    model=ModelNames(name="shop"),
)
DDL: Final = (
    "CREATE TABLE scored (ts {time}, request_id TEXT, customer TEXT, seq BIGINT, age INTEGER, income DOUBLE PRECISION,"
    " vip BOOLEAN, country TEXT, payload {json}, proba DOUBLE PRECISION, outcome INTEGER, version TEXT, trace TEXT,"
    " span TEXT)"
)
PLACES: Final = ", ".join(["{}"] * 14)


def rows(seed: int = 1, *, drifted_country: str | None = None, first: date = FIRST) -> list[tuple[Any, ...]]:
    """A row each 36 minutes; in November everybody in `drifted_country` is ten years older and earns twice as much."""
    rng = np.random.default_rng(seed)
    found: list[tuple[Any, ...]] = []
    start = datetime(first.year, first.month, first.day, 0, 10, tzinfo=UTC)
    for place in range(ROWS_A_DAY * DAYS):
        made_at = start + timedelta(days=1) * (place / ROWS_A_DAY)
        country = COUNTRIES[int(rng.integers(3))]
        age, income = int(rng.normal(45, 12)), float(rng.gamma(4, 500))
        if country == drifted_country and made_at.month == 11:
            age, income = age + 25, income * 4
        basket: float | None = float(rng.gamma(2, 20))
        score = 1 / (1 + np.exp(-(age - 45) / 12 - rng.normal(0, 0.5)))
        found.append(
            (
                made_at.replace(microsecond=0),
                f"r{place}",
                None if place % 11 == 0 else f"c{place % 1_500}",
                place,
                age,
                None if place % 50 == 0 else round(income, 2),
                bool(rng.random() < 0.3),
                country,
                json.dumps({"basket": {"total": basket} if place % 40 else {}}),
                float(score),
                int(rng.random() < score),
                "7",
                f"{place + 1:032x}" if place % 5 == 0 else None,
                f"{place + 1:016x}" if place % 5 == 0 else None,
            )
        )
    return found


def sqlite_file(path: Path, made: list[tuple[Any, ...]], *, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    """A SQLite file whose times are text without a zone, in UTC."""
    with sqlite3.connect(path) as connection:
        connection.execute(DDL.format(time="DATETIME", json="JSON"))
        given = [(row[0].strftime(form), *row[1:]) for row in made]
        connection.executemany(f"INSERT INTO scored VALUES ({PLACES.replace('{}', '?')})", given)
    connection.close()
    return f"sqlite:///{path}"


def postgresql_table(url: str, made: list[tuple[Any, ...]]) -> str:
    """A table in PostgreSQL, and a role that may only read it, whose URL this is."""
    plain = sa.make_url(url).set(drivername="postgresql")
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS scored")
        connection.execute("REVOKE TEMPORARY ON DATABASE postgres FROM PUBLIC")
        connection.execute(DDL.format(time="TIMESTAMPTZ", json="JSONB"))
        with connection.cursor() as cursor:
            cursor.executemany(f"INSERT INTO scored VALUES ({PLACES.replace('{}', '%s')})", made)
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'reader'").fetchone():
            connection.execute("CREATE ROLE reader LOGIN")
        connection.execute("GRANT SELECT ON scored TO reader")
    return plain.set(username="reader").render_as_string(hide_password=False)


def arrow(made: list[tuple[Any, ...]]) -> pa.Table:
    """The rows as Parquet files have them."""
    names = [column.split()[0] for column in DDL.partition("(")[2].split(", ")]
    return pa.table(dict(zip(names, map(list, zip(*made, strict=True)), strict=True)))


def parquet_folder(folder: Path, made: list[tuple[Any, ...]]) -> str:
    """A Parquet file a month, in sub-folders."""
    for month in sorted({row[0].month for row in made}):
        (folder / f"month={month}").mkdir(parents=True)
        pq.write_table(
            arrow([row for row in made if row[0].month == month]), folder / f"month={month}" / "part.parquet"
        )
    return str(folder)


def duckdb_file(path: Path, made: list[tuple[Any, ...]]) -> str:
    """A DuckDB file whose times have no zone, in Berlin's."""
    with duckdb.connect(str(path)) as connection:
        connection.execute("SET TimeZone = 'Europe/Berlin'")
        connection.register("given", arrow(made))
        connection.execute(
            "CREATE TABLE scored AS SELECT * REPLACE (ts::TIMESTAMP AS ts, payload::JSON AS payload) FROM given"
        )
    return f"duckdb:///{path}"


LABELS: Final = LabelTable("outcomes", {"request_id": "request"}, "churned", 30)
