"""The schema of a model: its features, their kinds, which values are *valid* and which were *seen*, and its target.

A *valid* value makes sense at all (an amount is not negative): a request with any other value is rejected. A *seen*
value is within what the training data contain: a request with any other value is answered and counted as unusual. A
service that rejects everything new hides drift from its monitor.

Nothing here reads or writes files.
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["number", "integer", "flag", "category"]
"""`number`: 64-bit float; `integer`: 64-bit signed; `flag`: true or false; `category`: text from a set."""

Value: TypeAlias = float | int | bool | str | None
"""One feature's value; None is missing."""

Task: TypeAlias = Literal["binary", "multiclass", "regression"]
"""What is predicted: the probability of one of two classes, one of several classes, or a number."""

Label: TypeAlias = float | int | bool | str
"""A value of the target: a class, or a number."""

FeatureRow: TypeAlias = tuple[Value, ...]
"""The values of one subject, one for each feature, in the schema's order."""

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_CATEGORY_LENGTH: Final = 200
TEXT_PATTERN: Final = r"^[^\x00-\x1f\x7f-\x9f]+$"
"""Text without control characters, as JSON Schema, pydantic and Python say it.

In Python use it with `re.fullmatch`: `$` also matches before a final line break.
"""
FEATURE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\- ]{0,62}")
SCORE_COLUMN, PREDICTION_COLUMN, LABEL_COLUMN = "_score", "_prediction", "_label"
"""Columns of a reference or a window besides the features; no feature may have their names."""
MAX_CLASSES: Final = 100


class SchemaError(ValueError):
    """A schema is not valid, or a value is not valid for it; the message says what and where."""


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the training data contain of one feature.

    `low` and `high` are the reference's 0.5 % and 99.5 % quantiles: outside them a value counts as unusual. All four
    numbers are in the feature's unit, and None for a category. `categories` is sorted, and empty for any other kind.
    """

    minimum: float | None = None
    maximum: float | None = None
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    missing_share: float = 0.0


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature: its kind, its unit (UCUM, annotations in braces), its valid limits and its seen values."""

    name: str
    kind: Kind
    unit: str | None = None
    minimum: int | float | None = None  # an int stays one, in JSON too
    maximum: int | float | None = None
    nullable: bool = False
    description: str = ""
    seen: Seen = Seen()

    def __post_init__(self) -> None:
        if not FEATURE_NAME.fullmatch(self.name):
            raise SchemaError(
                f"feature name {self.name!r}: start with a letter or '_', continue with letters, digits, '_', '.', '-'"
                " or spaces, and use at most 63 characters"
            )
        if self.name in {SCORE_COLUMN, PREDICTION_COLUMN, LABEL_COLUMN}:
            raise SchemaError(f"feature name {self.name!r} is reserved by Leeway: give the feature another name")
        limits = (self.minimum, self.maximum, self.seen.minimum, self.seen.maximum, self.seen.low, self.seen.high)
        if any(limit is not None and not math.isfinite(limit) for limit in limits):
            raise SchemaError(f"feature {self.name!r}: a limit is not a finite number")

    def validate(self, value: object) -> Value:
        """Return the canonical form of a valid value: None, a float, an int, a bool or text, by the feature's kind.

        This is the one rule; the request models, the readers of files and the bundle follow it:

        - number: an int or a finite float, but not a bool;
        - integer: 64 bits, signed; 40.0 is 40, because JSON does not tell them apart;
        - flag: true or false;
        - category: 1 to 200 characters, without control characters and lone surrogates.

        >>> age = Feature("age", "integer", minimum=0)
        >>> age.validate(40.0)
        40
        >>> age.problem(40.5), age.problem(-1)
        ('must be a whole number', 'must be at least 0')

        Raises:
            SchemaError: the value is not valid; the message is the reason.
        """
        if value is None:
            if not self.nullable:
                raise SchemaError("must not be missing")
            return None
        canonical = _CANONICAL[self.kind](value)
        if not isinstance(canonical, str):
            if self.minimum is not None and canonical < self.minimum:
                raise SchemaError(f"must be at least {self.minimum:.15g}")
            if self.maximum is not None and canonical > self.maximum:
                raise SchemaError(f"must be at most {self.maximum:.15g}")
        return canonical

    def problem(self, value: object) -> str | None:
        """Say in a few words why `value` is not valid for this feature; None if it is."""
        try:
            self.validate(value)
        except SchemaError as error:
            return str(error)
        return None


def whole(value: object) -> object:
    """An int for a float without a fraction; anything else as it is.

    >>> whole(40.0), whole(40.5), whole("40.0")
    (40, 40.5, '40.0')
    """
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise SchemaError("must be a number")
    if not abs(value) <= sys.float_info.max:  # neither is NaN, nor an int that no float can hold
        raise SchemaError("must be a finite number")
    return float(value)


def _integer(value: object) -> int:
    integer = whole(value)
    if isinstance(integer, bool) or not isinstance(integer, int):
        raise SchemaError("must be a whole number")
    if not INT64_MIN <= integer <= INT64_MAX:
        raise SchemaError("must fit in 64 bits")
    return integer


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise SchemaError("must be true or false")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise SchemaError("must be text")
    if not 0 < len(value) <= MAX_CATEGORY_LENGTH:
        raise SchemaError(f"must be 1 to {MAX_CATEGORY_LENGTH} characters long")
    if not _TEXT.fullmatch(value):
        raise SchemaError("must not contain control characters")
    if _SURROGATE.search(value):
        raise SchemaError("must be valid Unicode: it contains half of a surrogate pair")
    return value


_TEXT = re.compile(TEXT_PATTERN)
_SURROGATE = re.compile(r"[\ud800-\udfff]")  # JSON in UTF-8 cannot carry one, so no pattern for JSON speaks of them
_CANONICAL: Final[dict[Kind, Callable[[object], float | int | bool | str]]] = {
    "number": _number,
    "integer": _integer,
    "flag": _flag,
    "category": _text,
}


@dataclass(frozen=True)
class Target:
    """What a model predicts: the target's name, the task, and the classes if it has any.

    A binary target has two classes, one of them `positive`: scores are its probabilities. A multiclass target has 3 to
    100, a regression none. Classes are all true or false, all numbers, or all text, in the model's order.

    >>> target = Target("plan", "multiclass", ("basic", "gold", "none"), positive=None)
    >>> target.kind, target.label("gold")
    ('category', 'gold')
    >>> Target().label(True), Target("price", "regression", (), None).label(12)
    (1, 12.0)
    """

    name: str = "label"
    task: Task = "binary"
    classes: tuple[Label, ...] = (0, 1)
    positive: Label | None = 1

    def __post_init__(self) -> None:
        count = len(self._known)
        if count != len(self.classes):
            raise SchemaError(f"target {self.name!r}: duplicate classes in {list(self.classes)}")
        least, most = _CLASSES[self.task]
        if not least <= count <= most:
            wanted = str(least) if least == most else f"{least} to {most}"
            raise SchemaError(f"target {self.name!r}: {self.task} has {wanted} classes, but there are {count}")
        if self.task == "binary" and self.positive not in self._known:
            raise SchemaError(
                f"target {self.name!r}: `positive` is {self.positive!r}, but the classes are {self.classes}"
            )
        if self.task != "binary" and self.positive is not None:
            raise SchemaError(f"target {self.name!r}: only a binary target has a positive class")
        for each in self.classes:
            try:
                _CANONICAL[self.kind](each)
            except SchemaError as error:
                raise SchemaError(f"target {self.name!r}: class {each!r} {error}") from error

    @cached_property
    def _known(self) -> dict[Label, Label]:
        return {each: each for each in self.classes}

    @cached_property
    def kind(self) -> Kind:
        """The kind of a label: a number for a regression, otherwise that of the classes."""
        if self.task == "regression":
            return "number"
        if all(isinstance(each, bool) for each in self.classes):
            return "flag"
        if any(isinstance(each, str) for each in self.classes):
            return "category"
        return "integer" if all(isinstance(each, int) for each in self.classes) else "number"

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """The classes as text: `true` and `false` for flags."""
        return tuple(class_name(each) for each in self.classes)

    @cached_property
    def negative_and_positive(self) -> tuple[Label, Label]:
        """The two classes of a binary target, the positive one last, as `classes` has them."""
        first, second = self.classes
        return (second, first) if first == self.positive else (first, second)

    @property
    def compared_column(self) -> str:
        """What a drift run compares of the answers: scores, or the predicted classes where there are more than two."""
        return PREDICTION_COLUMN if self.task == "multiclass" else SCORE_COLUMN

    @property
    def compared_kind(self) -> Kind:
        """The kind of the values of `compared_column`."""
        return self.kind if self.task == "multiclass" else "number"

    @property
    def takes_flags(self) -> bool:
        """Whether true and false are labels: the classes are these two, or 0 and 1."""
        return set(self.classes) == {0, 1}

    def label(self, value: object) -> Label:
        """The canonical form of a valid label: a class as it is here, or a float.

        Raises:
            SchemaError: it is not valid; the message is the reason.
        """
        if self.task == "regression":
            return _number(value)
        if isinstance(value, str | int | float) and (self.takes_flags or not isinstance(value, bool)):
            found = self._known.get(value)
            if found is not None:
                return found
        if self.takes_flags:
            raise SchemaError("must be 0, 1, true or false")
        raise SchemaError(f"must be one of the classes {', '.join(self.class_names)}")

    def codes(self, labels: Iterable[Label]) -> list[int]:
        """The place of each label among the classes.

        Raises:
            KeyError: one is no class.
        """
        places = {each: place for place, each in enumerate(self.classes)}
        return [places[label] for label in labels]


_CLASSES: Final[dict[Task, tuple[int, int]]] = {
    "binary": (2, 2),
    "multiclass": (3, MAX_CLASSES),
    "regression": (0, 0),
}
"""The least and the greatest number of classes."""


def class_name(label: Label) -> str:
    """A class as text.

    >>> class_name(True), class_name(3), class_name("gold")
    ('true', '3', 'gold')
    """
    return str(label).lower() if isinstance(label, bool) else str(label)


@dataclass(frozen=True)
class FeatureSchema:
    """The features of one model, in the order in which the model takes them, and what it predicts.

    >>> schema = FeatureSchema((Feature("age", "integer", minimum=0), Feature("region", "category")))
    >>> schema.row({"region": "north", "age": 52})
    (52, 'north')
    >>> schema.problems({"age": -1, "income": 5})
    {'income': 'is not a feature of this model', 'age': 'must be at least 0', 'region': 'must not be missing'}
    """

    features: tuple[Feature, ...]
    target: Target = Target()

    def __post_init__(self) -> None:
        if not self.features:
            raise SchemaError("a schema needs at least one feature")
        if doubled := sorted({name for name in self.names if self.names.count(name) > 1}):
            raise SchemaError(f"duplicate feature names: {doubled}")

    def __iter__(self) -> Iterator[Feature]:
        return iter(self.features)

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, name: str) -> Feature:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @cached_property
    def _by_name(self) -> dict[str, Feature]:
        return {feature.name: feature for feature in self.features}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The features' names, in order."""
        return tuple(feature.name for feature in self.features)

    @cached_property
    def fingerprint(self) -> str:
        """Twelve hex digits that depend on the features' names, kinds and order, the target, its task and its classes.

        A model trained on newer data has the same fingerprint, and so the same tables.
        """
        features = [(feature.name, feature.kind) for feature in self.features]
        shape = msgspec.json.encode((features, self.target.name, self.target.task, self.target.classes))
        return hashlib.sha256(shape).hexdigest()[:12]

    def row(self, values: Mapping[str, Value]) -> FeatureRow:
        """The values of this schema's features, in its order; an absent value is missing."""
        return tuple(map(values.get, self.names))

    def problems(self, values: Mapping[str, Value]) -> dict[str, str]:
        """Check one row: the reason for each feature that is missing, unknown or not valid."""
        found = {name: "is not a feature of this model" for name in values if name not in self}
        reasons = {each.name: each.problem(values.get(each.name)) for each in self.features}
        return found | {name: reason for name, reason in reasons.items() if reason is not None}

    def with_seen(self, seen: Mapping[str, Seen]) -> FeatureSchema:
        """The same schema with the seen values of each feature."""
        features = (msgspec.structs.replace(feature, seen=seen[feature.name]) for feature in self.features)
        return FeatureSchema(tuple(features), self.target)


CHURN_SCHEMA = FeatureSchema(
    (
        Feature("months_active", "integer", "mo", 0, 1_200, description="months since the customer joined"),
        Feature("monthly_fee", "number", "{currency}", 0, description="what the customer pays each month"),
        Feature("paperless_billing", "flag", description="bills come by e-mail"),
        Feature("plan_stream_tv", "flag", nullable=True, description="streams television; missing without internet"),
        Feature("plan_stream_movies", "flag", nullable=True, description="streams films; missing without internet"),
        Feature("net_service", "category", description="kind of internet connection"),
        Feature("watch_hours_30d", "number", "h", 0, 720, description="hours watched in the last 30 days"),
        Feature("avg_session_mins_7d", "number", "min", 0, 10_080, description="mean session in the last 7 days"),
        Feature("unique_devices_30d", "integer", "{device}", 0, description="devices used in the last 30 days"),
        Feature("skips_7d", "integer", "{skip}", 0, description="titles skipped in the last 7 days"),
        Feature("rebuffer_events_7d", "integer", "{event}", 0, description="playback stalls in the last 7 days"),
        Feature("failed_payments_90d", "integer", "{payment}", 0, description="payments declined in the last 90 days"),
        Feature("support_tickets_90d", "integer", "{ticket}", 0, description="tickets opened in the last 90 days"),
        Feature("ticket_avg_resolution_hrs_90d", "number", "h", 0, 2_160, description="mean time to close a ticket"),
    ),
    Target("churn"),
)
"""The built-in schema: a streaming provider's customers, and whether they leave."""
