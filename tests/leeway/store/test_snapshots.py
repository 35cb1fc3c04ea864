from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
import sqlalchemy as sa

from leeway.data.population import Population, population
from leeway.schema import CHURN_SCHEMA, Feature, FeatureSchema
from leeway.store.engine import create_tables, open_engine
from leeway.store.snapshots import Snapshot, Snapshots, SnapshotsUnavailable, UnknownMonth
from leeway.store.tables import tables_for

JANUARY, FEBRUARY, MARCH = date(2024, 1, 31), date(2024, 2, 29), date(2024, 3, 31)
CUSTOMERS = 300


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[sa.Engine]:
    """A SQLite file with empty tables."""
    engine = open_engine(f"sqlite:///{tmp_path / 'leeway.db'}")
    create_tables(engine, tables_for(CHURN_SCHEMA))
    yield engine
    engine.dispose()


@pytest.fixture
def snapshots(engine: sa.Engine) -> Snapshots:
    """Snapshots without a month yet."""
    return Snapshots(engine, tables_for(CHURN_SCHEMA))


@pytest.fixture(scope="module")
def january() -> Population:
    """One month's customers."""
    return population(0, customers=CUSTOMERS)


@pytest.fixture(scope="module")
def february() -> Population:
    """The same customers a month later."""
    return population(1, customers=CUSTOMERS)


def load(snapshots: Snapshots, as_of: date, month: Population, *, labelled: bool = True) -> int:
    """Load a month of the population."""
    return snapshots.ingest(as_of, month.user_ids, month.columns, month.labels if labelled else None)


def by_customer(user_ids: list[str], labels: list[int] | None) -> dict[str, int]:
    """Labels by customer."""
    return dict(zip(user_ids, labels or [], strict=True))


def test_a_customer_is_found_as_loaded(snapshots: Snapshots, january: Population) -> None:
    """A lookup gives the very features that were loaded, in the schema's order, as plain Python values."""
    assert load(snapshots, JANUARY, january) == CUSTOMERS
    for place, user_id in enumerate(january.user_ids):
        found, loaded = snapshots.lookup(user_id), CHURN_SCHEMA.row(january.row(place))
        assert found == Snapshot(user_id, JANUARY, loaded)
        assert [type(value) for value in found.features] == [type(value) for value in loaded]


def test_nulls_are_kept(snapshots: Snapshots, january: Population) -> None:
    """A value that is missing comes back as missing, and not as False."""
    load(snapshots, JANUARY, january)
    place = january.columns["net_service"].index("No")
    found = snapshots.lookup(january.user_ids[place])
    assert found is not None
    assert found.features[CHURN_SCHEMA.names.index("plan_stream_tv")] is None


def test_an_unknown_customer(snapshots: Snapshots, january: Population) -> None:
    """A customer who was never loaded is None."""
    load(snapshots, JANUARY, january)
    assert snapshots.lookup("0000-NOONE") is None


def test_the_newest_month_wins(snapshots: Snapshots, january: Population, february: Population) -> None:
    """A lookup answers from the newest month, whichever was loaded last."""
    load(snapshots, FEBRUARY, february)
    load(snapshots, JANUARY, january)
    assert snapshots.lookup("7590-VHVEG") == Snapshot("7590-VHVEG", FEBRUARY, CHURN_SCHEMA.row(february.row(0)))


def test_months_stand_side_by_side(snapshots: Snapshots, january: Population, february: Population) -> None:
    """A second month leaves the first as it was."""
    load(snapshots, JANUARY, january)
    before = snapshots.read(JANUARY)
    load(snapshots, FEBRUARY, february)
    assert snapshots.read(JANUARY) == before
    assert snapshots.dates() == [JANUARY, FEBRUARY]


def test_the_same_month_is_replaced(snapshots: Snapshots, january: Population, february: Population) -> None:
    """Loading a month again replaces its features and labels, and leaves no customer of the old ones behind."""
    load(snapshots, JANUARY, january)
    snapshots.ingest(
        JANUARY, february.user_ids[1:], {name: values[1:] for name, values in february.columns.items()}, None
    )
    month = snapshots.read(JANUARY)
    assert len(month) == CUSTOMERS - 1
    assert month.labels is None
    assert snapshots.labels(JANUARY) == {}
    assert snapshots.lookup("7590-VHVEG") is None


def test_a_late_fault_loads_nothing(snapshots: Snapshots, january: Population, february: Population) -> None:
    """Where the last row is refused, the whole load is undone: the month stays as it was, labels too."""
    load(snapshots, JANUARY, january)
    doubled = [*february.user_ids[:-1], max(february.user_ids[:-1])]
    with pytest.raises(SnapshotsUnavailable, match="UNIQUE"):
        snapshots.ingest(JANUARY, doubled, february.columns, february.labels)
    month = snapshots.read(JANUARY)
    assert dict(zip(month.user_ids, month.columns["watch_hours_30d"], strict=True)) == dict(
        zip(january.user_ids, january.columns["watch_hours_30d"], strict=True)
    )
    assert snapshots.labels(JANUARY) == by_customer(january.user_ids, january.labels)


def test_a_month_is_read_whole(snapshots: Snapshots, january: Population) -> None:
    """A month comes back with every customer, feature and label, each beside its own."""
    load(snapshots, JANUARY, january)
    month = snapshots.read(JANUARY)
    assert month.user_ids == sorted(january.user_ids)
    assert tuple(month.columns) == CHURN_SCHEMA.names
    places = {user_id: place for place, user_id in enumerate(january.user_ids)}
    for place, user_id in enumerate(month.user_ids):
        assert {name: values[place] for name, values in month.columns.items()} == january.row(places[user_id])
    assert by_customer(month.user_ids, month.labels) == by_customer(january.user_ids, january.labels)


def test_labels_by_customer(snapshots: Snapshots, january: Population, february: Population) -> None:
    """Labels are given for the month asked for, and there are none where it was loaded without."""
    load(snapshots, JANUARY, january)
    load(snapshots, FEBRUARY, february, labelled=False)
    assert snapshots.labels(JANUARY) == by_customer(january.user_ids, january.labels)
    assert snapshots.labels(FEBRUARY) == {}
    assert snapshots.read(FEBRUARY).labels is None


def test_empty_until_loaded(snapshots: Snapshots, january: Population) -> None:
    """A store without a month says so."""
    assert snapshots.is_empty()
    assert snapshots.dates() == []
    load(snapshots, JANUARY, january)
    assert not snapshots.is_empty()


def test_an_unknown_month_names_the_known_ones(snapshots: Snapshots, january: Population) -> None:
    """A month that was never loaded is an error that names those that were."""
    load(snapshots, JANUARY, january)
    with pytest.raises(UnknownMonth, match="no snapshots as of 2024-03-31; there are: 2024-01-31"):
        snapshots.read(MARCH)


def test_lengths_must_agree(snapshots: Snapshots, january: Population) -> None:
    """A list that is too short is refused before the database is touched."""
    with pytest.raises(ValueError, match="of one length"):
        snapshots.ingest(JANUARY, january.user_ids, january.columns, january.labels[:-1])
    assert snapshots.is_empty()


def test_features_must_be_the_schemas(snapshots: Snapshots, january: Population) -> None:
    """A missing feature is refused by its name."""
    columns = {name: values for name, values in january.columns.items() if name != "monthly_fee"}
    with pytest.raises(ValueError, match="monthly_fee"):
        snapshots.ingest(JANUARY, january.user_ids, columns, january.labels)


def test_another_schema_has_months_of_its_own(engine: sa.Engine, snapshots: Snapshots, january: Population) -> None:
    """A second schema's snapshots, with names like our own columns, stand in tables of their own."""
    tables = tables_for(FeatureSchema((Feature("as_of", "category"), Feature("score", "number"))))
    create_tables(engine, tables)
    other = Snapshots(engine, tables)
    other.ingest(JANUARY, ["a"], {"as_of": ["noon"], "score": [0.5]}, None)
    load(snapshots, FEBRUARY, january)
    assert other.lookup("a") == Snapshot("a", JANUARY, ("noon", 0.5))
    assert other.dates() == [JANUARY]


def test_no_tables_is_unavailable(tmp_path: Path) -> None:
    """A database that was never set up is unavailable, with the driver's reason."""
    snapshots = Snapshots(open_engine(f"sqlite:///{tmp_path / 'new.db'}"), tables_for(CHURN_SCHEMA))
    with pytest.raises(SnapshotsUnavailable, match="no such table") as caught:
        snapshots.lookup("7590-VHVEG")
    assert isinstance(caught.value.__cause__, sa.exc.OperationalError)


def test_an_absent_server_is_unavailable() -> None:
    """A PostgreSQL that does not answer is unavailable."""
    snapshots = Snapshots(open_engine("postgresql+psycopg://leeway@127.0.0.1:1/leeway"), tables_for(CHURN_SCHEMA))
    with pytest.raises(SnapshotsUnavailable):
        snapshots.is_empty()


def test_a_lookup_takes_well_under_a_millisecond(snapshots: Snapshots, january: Population) -> None:
    """Half of the lookups on SQLite take less than 0.5 ms (about 0.05 ms on a quiet machine)."""
    load(snapshots, JANUARY, january)
    took_s = []
    for user_id in january.user_ids:
        start = time.perf_counter()
        snapshots.lookup(user_id)
        took_s.append(time.perf_counter() - start)
    assert statistics.median(took_s) < 0.0005
