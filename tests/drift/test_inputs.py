from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
import uuid_utils
from msgspec.structs import replace

from drift.inputs import ActiveBundle, BundleReloader, ComparisonInputs, most_unusual, read_window
from leeway.model.bundle import BundleError, BundleMissing
from leeway.model.encoding import Encoder
from leeway.model.manifest import CARD
from leeway.schema import SCORE_COLUMN, Feature, FeatureSchema, Seen, Value
from leeway.store.engine import open_engine
from leeway.store.predictions import PredictionLabel
from leeway.store.rejections import ANY, RejectedItems, RejectionLog
from tests.drift.worlds import NOON, WINDOW_S, World, calm_rows
from tests.leeway.model.bundles import change_json, reseal

END = NOON + timedelta(seconds=WINDOW_S)
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def watch(world: World) -> BundleReloader:
    """A watch over the world's bundle."""
    return BundleReloader(world.bundle.folder, world.engine)


@pytest.fixture
def active(watch: BundleReloader) -> ActiveBundle:
    """What is in force there."""
    return watch.current()


def read(active: ActiveBundle, *, max_subjects: int = 50_000, max_labels: int = 2_000) -> ComparisonInputs:
    """The first window."""
    return read_window(active, NOON, END, max_subjects=max_subjects, max_labels=max_labels)


# --- the bundle ---------------------------------------------------------------------------------------------------


def test_a_bundle_is_loaded_once(watch: BundleReloader) -> None:
    """While nothing changes, the same one is in force."""
    assert watch.current() is watch.current()


def test_another_bundle_is_picked_up(world: World, watch: BundleReloader) -> None:
    """Written over the folder, it is in force from then on."""
    before = watch.current().bundle.version
    after = world.train_again().version
    assert before != after == watch.current().bundle.version


def test_no_bundle_is_an_error_until_there_is_one(world: World) -> None:
    """A worker may start before the first training."""
    away = world.folder / "later"
    watch = BundleReloader(away, world.engine)
    with pytest.raises(BundleMissing):
        watch.current()
    world.bundle.folder.rename(away)
    assert watch.current().bundle.version == world.bundle.version


def test_a_bundle_replaced_while_it_is_read_is_not_used(world: World) -> None:
    """The reference of one model and the card of another would be compared: the next cycle reads it whole."""
    engine = open_engine(f"sqlite:///{world.folder / 'other.db'}")
    watch = BundleReloader(world.bundle.folder, engine)

    def replace_it(_connection: object, _record: object) -> None:
        world.train_again()

    sa.event.listen(
        engine, "connect", replace_it, once=True
    )  # the tables are made after the card, before the reference
    with pytest.raises(BundleError, match="was replaced while it was read"):
        watch.current()
    assert watch.current().bundle.version == world.bundle.version
    engine.dispose()


def test_a_card_without_a_plan_is_the_bundle_s_fault(world: World) -> None:
    """A bundle that does not say how to compare is told apart from a failure of ours."""
    change_json(world.bundle.folder / CARD, lambda card: card["drift"].pop("score"))
    reseal(world.bundle.folder)
    with pytest.raises(BundleError, match="train again"):
        BundleReloader(world.bundle.folder, world.engine).current()


# --- the window ---------------------------------------------------------------------------------------------------


def test_a_window_has_features_and_scores(world: World, active: ActiveBundle) -> None:
    """A row a subject, with the columns of the reference."""
    world.serve(calm_rows(20))
    frame = read(active).current
    assert list(frame) == [*world.bundle.schema.names, SCORE_COLUMN]
    assert len(frame) == 20


def test_scores_of_two_models_are_not_compared(world: World, active: ActiveBundle) -> None:
    """After a change of models the window holds both's scores: its features count, its scores do not."""
    world.serve(calm_rows(20))
    world.serve(calm_rows(20), model_version="before")
    assert list(read(active).current) == list(world.bundle.schema.names)


def test_a_sample_of_a_batch_is_even(world: World, active: ActiveBundle) -> None:
    """Ids made within a millisecond count up in their middle: half a batch is drawn, not the batch's first half."""
    ids = [str(uuid_utils.uuid7()) for _ in range(1_000)]
    (record,) = world.serve(calm_rows(1))
    world.log.write_batch([replace(record, prediction_id=one) for one in ids])
    window = active.log.window(NOON, END, limit=500)
    first_half = sum(one in set(ids[:500]) for one in window.columns["prediction_id"])
    assert (window.subjects, window.taken) == (1_001, 500)
    assert 180 <= first_half <= 320


def test_what_was_refused_is_read_with_its_cause(world: World, active: ActiveBundle) -> None:
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
    """Labels of predictions long before the window count: ROC AUC, and how far the label rate moved."""
    records = world.serve(calm_rows(100), start_s=-90_000)
    labels = [PredictionLabel(each.prediction_id, int(place < 90)) for place, each in enumerate(records)]
    world.log.write_labels(labels, datetime.now(UTC))
    served = read(active)
    assert served.performance is not None
    assert (served.performance.labels, served.performance.positive_share) == (100, 0.9)
    assert served.target.difference == pytest.approx(0.4)


def test_a_check_is_in_no_window(world: World, active: ActiveBundle) -> None:
    """What `leeway doctor` asks for is neither compared nor linked to, however unusual."""
    world.serve(calm_rows(20))
    world.serve(calm_rows(1).assign(age=999), traced=True, is_synthetic=True)
    served = read(active)
    assert (served.current_window.rows, len(served.current), served.unusual) == (20, 20, ())


def test_an_empty_window_is_read_as_any_other(active: ActiveBundle) -> None:
    """No rows, no labels, nothing to link to."""
    served = read(active)
    assert served.performance is not None
    assert (served.current_window.subjects, served.performance.labels, served.target.difference) == (0, 0, None)
    assert served.unusual == ()


# --- where to look ------------------------------------------------------------------------------------------------


def test_the_most_unusual_predictions_are_named(world: World, active: ActiveBundle) -> None:
    """At most twenty, by their own traces."""
    world.serve(calm_rows(60).assign(age=999), traced=True)
    named = read(active).unusual
    assert len(named) == 20
    assert all(int(each.trace_id, 16) == int(each.span_id, 16) for each in named)


def test_only_sampled_predictions_are_named(world: World, active: ActiveBundle) -> None:
    """A trace that was not kept is no place to send anybody."""
    strange = calm_rows(40).assign(age=999)
    world.serve(strange)
    (kept,) = world.serve(strange.head(1), unusual_features=1, trace_id=TRACE, span_id=SPAN)
    assert [(each.prediction_id, each.trace_id) for each in read(active).unusual] == [(kept.prediction_id, TRACE)]


def test_usual_predictions_are_not_named(world: World, active: ActiveBundle) -> None:
    """A window without unusual features links to nothing."""
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


def test_a_usual_row_is_never_named() -> None:
    """Rows within the reference's range are left out, also where fewer than the limit are found."""
    assert places((50, 3, "DSL"), (95, 3, "DSL"), (10, 9, "Fiber")) == [1]


def test_more_unusual_features_go_first() -> None:
    """Two slightly unusual features go before one that is far out."""
    assert places((1_000, 3, "DSL"), (91, 10, "DSL")) == [1, 0]


def test_among_equals_the_deeper_goes_first() -> None:
    """With one unusual feature each, the one further beyond the range leads."""
    assert places((91, 3, "DSL"), (170, 3, "DSL"), (9, 3, "DSL")) == [1, 0, 2]


def test_unseen_and_missing_count_as_well() -> None:
    """A category never seen and a value never missing before are each as deep as one whole range."""
    assert places((50, 3, "Satellite"), (None, 3, "DSL"), (91, 3, "DSL")) == [0, 1, 2]


def test_no_more_than_the_limit() -> None:
    """The limit holds."""
    assert len(places(*[(95, 3, "DSL")] * 30, limit=20)) == 20


def test_an_absurd_value_does_not_break_the_order() -> None:
    """The depth of one feature is bounded, and stays a number."""
    assert places((1e300, 3, "DSL"), (-1e300, 3, "DSL")) == [0, 1]
