from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from drift.sources.errors import SourceError
from drift.sources.opening import Source, opened
from leeway.schema import CHURN_SCHEMA
from leeway.store.delta import DeltaLog, create_delta_tables
from tests.leeway.store.records import IDS, a_database, some_records

pytest.importorskip("deltalake")
pytest.importorskip("duckdb")


@pytest.fixture
def log(tmp_path: Path) -> Iterator[DeltaLog]:
    """A log with empty Delta tables in the folder `lake`."""
    engine, tables, _ = a_database(tmp_path)
    location = str(tmp_path / "lake")
    create_delta_tables(location, engine, CHURN_SCHEMA)
    yield DeltaLog(location, engine, tables)
    engine.dispose()


def ids(source: Source) -> list[str]:
    """The ids of the predictions that a source has."""
    column: sa.ColumnElement[str] = sa.column("prediction_id")
    rows = sa.select(column).select_from(source.from_clause("predictions"))
    with source.snapshot() as view:
        return sorted(row[0] for row in view.read(rows))


@pytest.mark.parametrize("path", ["lake", "lake/predictions"])
def test_a_folder_of_tables_or_one_table_is_a_source(log: DeltaLog, tmp_path: Path, path: str) -> None:
    """Its rows are those of the version at the time of opening."""
    log.write_batch(some_records(2), "segment", [1, 2])
    with opened(f"delta:{tmp_path / path}") as source:
        log.write_batch(some_records(3), "segment", [1, 2, 3])
        assert ids(source) == IDS[:2]
        assert source.tables() == (["prediction_labels", "predictions"] if path == "lake" else ["predictions"])


@pytest.mark.parametrize("name", ["a lake", "l'été #1"])
def test_a_folder_can_have_spaces_and_accents(log: DeltaLog, tmp_path: Path, name: str) -> None:
    """Delta escapes them in the addresses of its files."""
    log.write_batch(some_records(2), "segment", [1, 2])
    (tmp_path / "lake").rename(tmp_path / name)
    with opened(f"delta:{tmp_path / name}") as source:
        assert ids(source) == IDS[:2]


def test_partitions_can_have_spaces(tmp_path: Path) -> None:
    """Their folders are escaped on disk too, unlike the table's."""
    import pyarrow as pa  # noqa: PLC0415 (optional)
    from deltalake import write_deltalake  # noqa: PLC0415 (optional)

    table = tmp_path / "a lake" / "predictions"
    write_deltalake(table, pa.table({"prediction_id": IDS[:1], "place": ["a b"]}), partition_by=["place"])
    with opened(f"delta:{table.parent}") as source:
        assert ids(source) == IDS[:1]


def test_an_empty_table_has_its_columns(log: DeltaLog, tmp_path: Path) -> None:
    """The types are those that its rows will have."""
    with opened(f"delta:{tmp_path / 'lake'}") as source:
        empty = source.columns("predictions")
        assert ids(source) == []
    log.write_batch(some_records(1), "segment", [1])
    with opened(f"delta:{tmp_path / 'lake'}") as source:
        assert source.columns("predictions") == empty


@pytest.mark.parametrize(
    ("url", "message"), [("delta:{}/none", "there is no Delta table"), ("delta:s3://b/p", "local")]
)
def test_what_cannot_be_read_is_an_error(tmp_path: Path, url: str, message: str) -> None:
    """The message says what there is to do."""
    with pytest.raises(SourceError, match=message), opened(url.format(tmp_path)):
        pass
