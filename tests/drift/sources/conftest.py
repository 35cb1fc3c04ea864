from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from drift.sources.opening import opened
from drift.sources.periods import parse_days
from drift.sources.reading import Limits
from drift.sources.reference import SourceReference, reference_of
from drift.sources.table import prediction_table
from tests.drift.sources import tables

LIMITS = Limits(1_000_000, 2_000)


@pytest.fixture(scope="session")
def made() -> list[tuple[Any, ...]]:
    """The rows of two months; in the second, customers in France are older and earn more."""
    return tables.rows(drifted_country="fr")


@pytest.fixture(scope="session")
def sqlite_url(made: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory) -> str:
    """These rows in SQLite."""
    return tables.sqlite_file(tmp_path_factory.mktemp("source") / "shop.db", made)


@pytest.fixture(scope="module", params=["sqlite", "postgresql", "duckdb", "parquet"])
def url(
    request: pytest.FixtureRequest, made: list[tuple[Any, ...]], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """These rows in each kind of source; PostgreSQL's role may only SELECT."""
    folder: Path = tmp_path_factory.mktemp(request.param)
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_url")
    elif request.param == "postgresql":
        yield tables.postgresql_table(request.getfixturevalue("postgresql"), made)
    elif request.param == "duckdb":
        yield tables.duckdb_file(folder / "shop.duckdb", made)
    else:
        yield tables.parquet_folder(folder / "shop", made)


@pytest.fixture(scope="session")
def october(sqlite_url: str) -> SourceReference:
    """The first month as a reference."""
    days = parse_days(tables.REFERENCE)
    assert days is not None
    with opened(sqlite_url) as source:
        return reference_of(prediction_table(source, tables.MAPPING), days.period(tables.MAPPING.zone), LIMITS)
