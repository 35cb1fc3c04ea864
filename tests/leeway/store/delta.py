"""Reads Delta tables in tests."""

from __future__ import annotations

from typing import Any


def delta_rows(location: str, table: str = "predictions") -> list[dict[str, Any]]:
    """The rows of a Delta table, in the order of their ids, and of their times if these are equal."""
    from deltalake import DeltaTable, QueryBuilder  # noqa: PLC0415 (optional)

    rows = QueryBuilder().register("found", DeltaTable(f"{location}/{table}")).execute("SELECT * FROM found").read_all()
    lists = [rows.column(name).to_pylist() for name in rows.column_names]
    found = [dict(zip(rows.column_names, values, strict=True)) for values in zip(*lists, strict=True)]
    return sorted(found, key=lambda row: (row["prediction_id"], row.get("labelled_at")))
