from drift.inputs import most_unusual
from leeway.model.encoding import Encoder
from leeway.schema import Feature, FeatureSchema, Seen, Value

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
