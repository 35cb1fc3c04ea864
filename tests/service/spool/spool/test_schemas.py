from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from leeway.schema import CHURN_SCHEMA
from service.spool.file import connect
from service.spool.spool import Spool, UnknownSchema
from tests.leeway.store.records import OTHER_SCHEMA, a_record, open_spool, some_records
from tests.service.spool.spool.contents import query, taken, waiting


def test_records_of_an_older_bundle_come_with_their_schema(path: Path) -> None:
    """After a change of bundle, what the old one left is taken first, alone, and its schema is known."""
    old = a_record(0, features=(1.5, "x", 2))
    with open_spool(path, schema=OTHER_SCHEMA) as spool:
        spool.append([old])
    with open_spool(path) as spool:
        spool.append([a_record(1)])
        batch = taken(spool)
        assert ([record for _, record in batch.entries], batch.has_more) == ([old], True)
        assert spool.schema(batch.fingerprint) == OTHER_SCHEMA


def test_an_unknown_schema_is_named(spool: Spool) -> None:
    """A fingerprint that was never opened with has an error of its own."""
    with pytest.raises(UnknownSchema, match="abc"):
        spool.schema("abc")


@pytest.mark.parametrize(
    "payload", ["[" * 3_000, "no json", "[]", "17", '["id", 1e300]', '["id",1,"v",null,null,7,0,0,0,0,0,"",""]']
)
def test_a_row_that_holds_no_record_stands_apart(spool: Spool, path: Path, payload: str) -> None:
    """It is named as unreadable, and the records beside it are read."""
    spool.append([a_record(0)])
    with closing(connect(path)) as connection:
        connection.execute("INSERT INTO records (schema, payload) VALUES (?, ?)", (CHURN_SCHEMA.fingerprint, payload))
    spool.append([a_record(1)])
    batch = taken(spool)
    assert ([record for _, record in batch.entries], batch.unreadable) == ([a_record(0), a_record(1)], (2,))


def test_a_refused_row_is_kept_aside_with_the_reason(spool: Spool, path: Path) -> None:
    """It no longer waits, and a person can find it."""
    spool.append(some_records(2))
    spool.move_to_dead_letters([1], "too large")
    assert waiting(spool) == [a_record(1)]
    assert query(path, "SELECT reason, payload FROM dead_letters") == [("too large", a_record(0).to_json())]
