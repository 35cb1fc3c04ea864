"""The feature schema: which features a model takes, of what kind, and which values are *valid* and which were *seen*.

*Valid* is what makes sense at all (an amount is not negative): beyond it a request is refused. *Seen* is what the
training data held: beyond it a request is answered and counted as unusual. A service that refuses everything new
hides drift from its monitor.

Nothing here reads or writes files.
"""

from __future__ import annotations

import hashlib
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import msgspec

Kind: TypeAlias = Literal["number", "integer", "flag", "category"]
"""`number`: 64-bit float; `integer`: 64-bit signed; `flag`: true or false; `category`: text from a set."""

Value: TypeAlias = float | int | bool | str | None
"""One feature's value; None is missing."""

FeatureRow: TypeAlias = tuple[Value, ...]
"""What is known of one subject: a value for each feature, in the schema's order."""

INT64_MIN, INT64_MAX = -(2**63), 2**63 - 1
MAX_CATEGORY_LENGTH = 200
FEATURE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.\- ]{0,62}")
SCORE_COLUMN, LABEL_COLUMN = "_score", "_label"
"""Columns that stand beside the features in a reference or a window; no feature may bear their names."""


class SchemaError(ValueError):
    """A schema, or a value held against one, is not as it must be; the message says what and where."""


class Seen(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the training data held of one feature.

    `low` and `high` are the reference's 0.5 % and 99.5 % quantiles: outside them a value counts as unusual. All four
    numbers are in the feature's unit and None for a category. `categories` is sorted, and empty but for a category.
    """

    minimum: float | None = None
    maximum: float | None = None
    low: float | None = None
    high: float | None = None
    categories: tuple[str, ...] = ()
    missing_share: float = 0.0


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One feature: its kind, its unit (UCUM, annotations in braces), its valid limits and what was seen of it."""

    name: str
    kind: Kind
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    nullable: bool = False
    description: str = ""
    seen: Seen = Seen()

    def __post_init__(self) -> None:
        if not FEATURE_NAME.fullmatch(self.name):
            raise SchemaError(
                f"feature name {self.name!r}: use a letter or _ first, then letters, digits, '_', '.', '-' or spaces,"
                " at most 63 characters"
            )
        if self.name in {SCORE_COLUMN, LABEL_COLUMN}:
            raise SchemaError(f"feature name {self.name!r} is reserved by Leeway: give the feature another name")
        limits = (self.minimum, self.maximum, self.seen.minimum, self.seen.maximum, self.seen.low, self.seen.high)
        if any(limit is not None and not math.isfinite(limit) for limit in limits):
            raise SchemaError(f"feature {self.name!r}: a limit is not a finite number")

    def problem(self, value: Value) -> str | None:
        """Say in a few words why `value` is not valid for this feature, or None where it is."""
        if value is None:
            return None if self.nullable else "is missing, and may not be"
        return _KIND_PROBLEM[self.kind](value) or self._beyond_limits(value)

    def _beyond_limits(self, value: Value) -> str | None:
        if isinstance(value, str) or value is None:
            return None
        if self.minimum is not None and value < self.minimum:
            return f"must be at least {self.minimum:g}"
        if self.maximum is not None and value > self.maximum:
            return f"must be at most {self.maximum:g}"
        return None


def _number_problem(value: Value) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number"
    return None if abs(value) <= sys.float_info.max else "must be a finite number"


def _integer_problem(value: Value) -> str | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return "must be a whole number"
    return None if INT64_MIN <= value <= INT64_MAX else "must fit into 64 bits"


def _flag_problem(value: Value) -> str | None:
    return None if isinstance(value, bool) else "must be true or false"


def _category_problem(value: Value) -> str | None:
    if not isinstance(value, str):
        return "must be text"
    if not 0 < len(value) <= MAX_CATEGORY_LENGTH:
        return f"must be 1 to {MAX_CATEGORY_LENGTH} characters long"
    return None if value.isprintable() else "must hold no control characters"


_KIND_PROBLEM = {
    "number": _number_problem,
    "integer": _integer_problem,
    "flag": _flag_problem,
    "category": _category_problem,
}


@dataclass(frozen=True)
class FeatureSchema:
    """The features of one model, in the order in which the model takes them."""

    features: tuple[Feature, ...]

    def __post_init__(self) -> None:
        names = [feature.name for feature in self.features]
        doubled = sorted({name for name in names if names.count(name) > 1})
        if not names or doubled:
            raise SchemaError(f"a schema needs features with names of their own; twice: {doubled}")

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
        """Twelve hex digits that change with a feature's name, kind or place, and with nothing else.

        A model trained again on newer data has the same fingerprint, and so the same tables.
        """
        shape = msgspec.json.encode([(feature.name, feature.kind) for feature in self.features])
        return hashlib.sha256(shape).hexdigest()[:12]

    def row(self, values: Mapping[str, Value]) -> FeatureRow:
        """The values of this schema's features, in its order; one that is absent is missing."""
        return tuple(map(values.get, self.names))

    def problems(self, values: Mapping[str, Value]) -> dict[str, str]:
        """Hold one row against the valid limits: a reason for each feature that is missing, unknown or not valid."""
        found = {name: "is not a feature of this model" for name in values if name not in self}
        for feature in self.features:
            reason = feature.problem(values.get(feature.name))
            if reason is not None:
                found[feature.name] = reason
        return found

    def with_seen(self, seen: Mapping[str, Seen]) -> FeatureSchema:
        """The same schema with what was seen of each feature."""
        return FeatureSchema(
            tuple(msgspec.structs.replace(feature, seen=seen[feature.name]) for feature in self.features)
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON object from which `from_json` makes the same schema."""
        document: dict[str, Any] = msgspec.to_builtins(self)
        return document

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FeatureSchema:
        """Read what `to_json` wrote.

        Raises:
            SchemaError: the document has another shape.
        """
        try:
            return msgspec.convert(document, cls)
        except msgspec.ValidationError as error:
            raise SchemaError(f"not a feature schema: {error}") from error


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
        Feature("failed_payments_90d", "integer", "{payment}", 0, description="payments refused in the last 90 days"),
        Feature("support_tickets_90d", "integer", "{ticket}", 0, description="tickets opened in the last 90 days"),
        Feature("ticket_avg_resolution_hrs_90d", "number", "h", 0, 2_160, description="mean time to close a ticket"),
    )
)
"""The built-in schema: a streaming provider's customers, and whether they leave."""
