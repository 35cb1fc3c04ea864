from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
import uuid_utils
from msgspec.structs import replace

from drift.inputs import ActiveBundle, BundleReloader, ComparisonInputs, most_unusual, read_window
from leeway.model.encoding import Encoder
from leeway.model.manifest import CARD, BundleError, BundleMissing
from leeway.schema import SCORE_COLUMN, Feature, FeatureSchema, Seen, Value
from leeway.store.engine import open_engine
from leeway.store.predictions import PredictionLabel
from leeway.store.rejections import ANY, RejectedItems, RejectionLog
from tests.drift.worlds import NOON, WINDOW_S, World, calm_rows
from tests.leeway.model.bundles import change_json, reseal

END = NOON + timedelta(seconds=WINDOW_S)
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def reloader(world: World) -> BundleReloader:
    """Reloads the world's bundle."""
    return BundleReloader(world.bundle.folder, world.engine)


@pytest.fixture
def active(reloader: BundleReloader) -> ActiveBundle:
    """The active bundle."""
    return reloader.current()


def read(active: ActiveBundle, *, max_labels: int = 2_000) -> ComparisonInputs:
    """The first window."""
    return read_window(active, NOON, END, max_labels=max_labels)


# --- the bundle ---------------------------------------------------------------------------------------------------


def test_a_bundle_is_loaded_once(reloader: BundleReloader) -> None:
    """The same bundle stays active while its folder does not change."""
    assert reloader.current() is reloader.current()


def test_a_new_bundle_is_picked_up(world: World, reloader: BundleReloader) -> None:
    """A bundle written over the old one becomes active."""
    before = reloader.current().bundle.version
    after = world.train_again().version
    assert before != after == reloader.current().bundle.version


def test_a_missing_bundle_is_an_error_until_it_exists(world: World) -> None:
    """A worker may start before the first training."""
    away = world.folder / "later"
    reloader = BundleReloader(away, world.engine)
    with pytest.raises(BundleMissing):
        reloader.current()
    world.bundle.folder.rename(away)
    assert reloader.current().bundle.version == world.bundle.version


def test_a_bundle_replaced_while_it_is_read_is_not_used(world: World) -> None:
    """The reference of one model would be compared by the card of another: the next cycle reads it again."""
    engine = open_engine(f"sqlite:///{world.folder / 'other.db'}")
    reloader = BundleReloader(world.bundle.folder, engine)

    def replace_it(_connection: object, _record: object) -> None:
        world.train_again()

    sa.event.listen(
        engine, "connect", replace_it, once=True
    )  # the tables are made after the card, before the reference
    with pytest.raises(BundleError, match="was replaced while it was read"):
        reloader.current()
    assert reloader.current().bundle.version == world.bundle.version
    engine.dispose()


def test_a_card_without_a_plan_is_a_bundle_error(world: World) -> None:
    """A bundle without a plan is reported as a bundle error."""
    change_json(world.bundle.folder / CARD, lambda card: card["drift"].pop("score"))
    reseal(world.bundle.folder)
    with pytest.raises(BundleError, match="train again"):
        BundleReloader(world.bundle.folder, world.engine).current()


# --- the window ---------------------------------------------------------------------------------------------------


def test_a_window_has_features_and_scores(world: World, active: ActiveBundle) -> None:
    """Each subject counts, with the columns of the reference; so does the sample for the page."""
    world.serve(calm_rows(20))
    found = read(active)
    assert list(found.current.columns) == list(found.sample()) == [*world.bundle.schema.names, SCORE_COLUMN]
    assert found.current.subjects == len(found.sample()[SCORE_COLUMN]) == 20


def test_scores_of_two_models_are_not_compared(world: World, active: ActiveBundle) -> None:
    """After a change of models the window contains scores of both: its features are compared, its scores are not."""
    world.serve(calm_rows(20))
    world.serve(calm_rows(20), model_version="before")
    assert list(read(active).current.columns) == list(world.bundle.schema.names)


def test_a_sample_of_a_batch_is_even(world: World, active: ActiveBundle) -> None:
    """Ids of one batch differ only in the middle: the sample is drawn from the whole batch, not its first half."""
    ids = [str(uuid_utils.uuid7()) for _ in range(1_000)]
    (record,) = world.serve(calm_rows(1))
    world.log.write_batch([replace(record, prediction_id=one) for one in ids])
    window = active.log.window(NOON, END, limit=500)
    first_half = sum(one in set(ids[:500]) for one in window.columns["prediction_id"])
    assert (window.subjects, window.taken) == (1_001, 500)
    assert 180 <= first_half <= 320


def test_rejections_are_read_with_their_causes(world: World, active: ActiveBundle) -> None:
    """Items are counted once, and again by feature and reason."""
    counts = {(ANY, ANY): 7, ("age", "missing"): 5, (ANY, "not JSON"): 2}
    rejected = [RejectedItems(NOON, "p", feature, reason, items) for (feature, reason), items in counts.items()]
    RejectionLog(world.engine, world.tables).write(rejected)
    world.serve(calm_rows(20))
    found = read(active).rejections
    assert found is not None
    assert (found.answered, found.rejected) == (20, 7)
    assert {(each.feature, each.reason, each.items) for each in found.causes} == {
        ("age", "missing", 5),
        (None, "not JSON", 2),
    }


def test_labels_give_performance_and_target(world: World, active: ActiveBundle) -> None:
    """Labels of predictions before the window count for ROC AUC and for the label rate."""
    records = world.serve(calm_rows(100), start_s=-90_000)
    labels = [PredictionLabel(each.prediction_id, int(place < 90)) for place, each in enumerate(records)]
    world.log.write_labels(labels, datetime.now(UTC))
    served = read(active)
    assert served.performance is not None
    assert served.performance.labels == 100
    assert served.target.difference == pytest.approx(0.4)


def test_synthetic_requests_are_in_no_window(world: World, active: ActiveBundle) -> None:
    """Synthetic requests are neither compared nor linked to, however unusual."""
    world.serve(calm_rows(20))
    world.serve(calm_rows(1).assign(age=999), traced=True, is_synthetic=True)
    served = read(active)
    assert (served.current_window.rows, served.current.subjects, served.unusual) == (20, 20, ())


def test_an_empty_window_can_be_read(active: ActiveBundle) -> None:
    """No rows, no labels, no links."""
    served = read(active)
    assert served.performance is not None
    assert (served.current_window.subjects, served.performance.labels, served.target.difference) == (0, 0, None)
    assert served.unusual == ()


# --- where to look ------------------------------------------------------------------------------------------------


def test_the_most_unusual_predictions_are_linked(world: World, active: ActiveBundle) -> None:
    """At most twenty, each with its own trace."""
    world.serve(calm_rows(60).assign(age=999), traced=True)
    named = read(active).unusual
    assert len(named) == 20
    assert all(int(each.trace_id, 16) == int(each.span_id, 16) for each in named)


def test_only_sampled_predictions_are_linked(world: World, active: ActiveBundle) -> None:
    """A trace that was not sampled cannot be opened."""
    strange = calm_rows(40).assign(age=999)
    world.serve(strange)
    (kept,) = world.serve(strange.head(1), unusual_features=1, trace_id=TRACE, span_id=SPAN)
    assert [(each.prediction_id, each.trace_id) for each in read(active).unusual] == [(kept.prediction_id, TRACE)]


def test_usual_predictions_are_not_linked(world: World, active: ActiveBundle) -> None:
    """A window without unusual features has no links."""
    world.serve(calm_rows(30).assign(age=40, **{"monthly fee": 40.25}), trace_id=TRACE, span_id=SPAN)
    assert read(active).unusual == ()


# --- the most unusual rows ------------------------------------------------------------------------------------------


SCHEMA = FeatureSchema(
    (
        Feature("hours", "number", seen=Seen(0, 100, 10, 90)),
        Feature("skips", "integer", seen=Seen(0, 9, 0, 9)),
        Feature("service", "category", seen=Seen(categories=("DSL", "Fiber"))),
    )
)
ENCODER = Encoder(SCHEMA)


def places(*rows: tuple[Value, Value, Value], limit: int = 20) -> list[int]:
    return most_unusual(ENCODER, ENCODER.encode(rows), limit)


def test_a_usual_row_is_left_out() -> None:
    """Rows within the reference range are left out, even below the limit."""
    assert places((50, 3, "DSL"), (95, 3, "DSL"), (10, 9, "Fiber")) == [1]


def test_more_unusual_features_come_first() -> None:
    """Two slightly unusual features come before one far outside the range."""
    assert places((1_000, 3, "DSL"), (91, 10, "DSL")) == [1, 0]


def test_among_equals_the_deeper_comes_first() -> None:
    """With one unusual feature each, the row further outside the range comes first."""
    assert places((91, 3, "DSL"), (170, 3, "DSL"), (9, 3, "DSL")) == [1, 0, 2]


def test_new_categories_and_missing_values_count() -> None:
    """An unseen category and an unexpected missing value have the depth of one range."""
    assert places((50, 3, "Satellite"), (None, 3, "DSL"), (91, 3, "DSL")) == [0, 1, 2]


def test_the_limit_applies() -> None:
    """Of thirty unusual rows twenty are returned."""
    assert len(places(*[(95, 3, "DSL")] * 30, limit=20)) == 20


def test_an_extreme_value_does_not_break_the_order() -> None:
    """The depth of one feature is bounded and finite."""
    assert places((1e300, 3, "DSL"), (-1e300, 3, "DSL")) == [0, 1]
