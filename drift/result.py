"""The result of a drift run, schema 1: `result.json`, `leeway drift run --json` and the column `drift_runs.result`.

A value that cannot be computed is None, and null in JSON; NaN and infinity never occur. `docs/results.md` describes
each member.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct

from leeway.model.distances import Method
from leeway.model.figures import TITLES, Figure
from leeway.schema import Task

SCHEMA: Final = 1
RUN_ID: Final = re.compile(r"[0-9a-f-]{36}")

Question: TypeAlias = Literal["quality", "covariate", "prediction", "performance"]
VerdictState: TypeAlias = Literal["ok", "watch", "act", "unknown"]
Decision: TypeAlias = Literal["NO_ACTION", "RETRAIN", "UNKNOWN"]
Recommendation: TypeAlias = Literal["NO_ACTION", "INVESTIGATE", "RETRAIN", "UNKNOWN"]
QUESTIONS: Final[tuple[Question, ...]] = ("quality", "covariate", "prediction", "performance")
RECOMMENDATIONS: Final[tuple[Recommendation, ...]] = ("NO_ACTION", "INVESTIGATE", "RETRAIN", "UNKNOWN")

Share: TypeAlias = Annotated[float, Meta(ge=0, le=1)]
NonNegative: TypeAlias = Annotated[float, Meta(ge=0)]

_LARGE = 10.0
_YEARS = (1970, 9000)
_LATEST_S = datetime(_YEARS[1], 1, 1, tzinfo=UTC).timestamp()


class ResultError(ValueError):
    """A document is not a result of schema 1; the message says where it differs."""


def _in_utc(text: str | None) -> datetime | None:
    """A date or a time without a zone counts as UTC."""
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if not _YEARS[0] <= moment.year <= _YEARS[1]:
        raise ValueError(f"the year {moment.year} is out of range")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _began(run_id: str) -> datetime:
    """The time in a UUIDv7: its first 48 bits are Unix milliseconds (RFC 9562)."""
    unix_ms = int(run_id.replace("-", "")[:12] or "0", 16)
    return datetime.fromtimestamp(min(unix_ms / 1_000, _LATEST_S), UTC)


class Window(Struct, frozen=True):
    """A compared window, as ISO 8601 text in UTC: from (included) to (excluded), or the date of an ingested month.

    `rows` are predictions, `subjects` the customers among them and the requests without a customer.
    """

    from_: str | None = msgspec.field(default=None, name="from")
    to: str | None = None
    rows: int | None = None
    subjects: int | None = None

    def __post_init__(self) -> None:
        _ = self.start, self.end  # raises for text that is not a time

    @classmethod
    def between(cls, start: date, end: date, rows: int, subjects: int) -> Window:
        """The window between two aware times, or two dates."""
        return cls(start.isoformat(), end.isoformat(), rows, subjects)

    @property
    def start(self) -> datetime | None:
        """The first time in the window, in UTC."""
        return _in_utc(self.from_)

    @property
    def end(self) -> datetime | None:
        """The first time after the window, in UTC."""
        return _in_utc(self.to)


class Model(Struct, frozen=True):
    """The model that the run judged; None without a bundle."""

    name: str | None = None
    version: str | None = None
    task: Task | None = None


class Verdict(Struct, frozen=True):
    """The answer to one question, and the reason in one sentence."""

    state: VerdictState
    evidence: str


class ScoreDrift(Struct, frozen=True):
    """The model's answers in the current window against those of the reference; all None if not compared.

    They are scores, predicted numbers, or of more than two classes the predicted ones.
    """

    method: Method | None = None
    score: NonNegative | None = None
    threshold: NonNegative | None = None
    detected: bool | None = None


class MissingShares(Struct, frozen=True):
    """Shares of rows without a value."""

    reference: Share = 0.0
    current: Share = 0.0


class FeatureDrift(Struct, frozen=True):
    """One feature in the current window against the reference.

    `score` is the distance, None if one side has no values; `threshold` is the effective one, see
    `leeway.model.distances.effective_threshold`. A `constant` feature has the same single value (or none) on both
    sides. `outside_reference` is the share of the present values outside the reference's 0.5–99.5 % range, or never
    seen; `new_categories` are up to 20 of those, most frequent first.
    """

    feature: str
    method: Method
    score: NonNegative | None
    threshold: NonNegative
    detected: bool
    constant: bool = False
    missing: MissingShares = MissingShares()
    outside_reference: Share = 0.0
    new_categories: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """Score ÷ threshold; 0 without a score."""
        return self.score / self.threshold if self.score and self.threshold else 0.0

    @property
    def factor(self) -> float:
        """How many times its threshold the score is; infinite for a detection without a score."""
        return math.inf if self.score is None and self.detected else self.ratio

    @property
    def entirely_missing(self) -> bool:
        """No value in the current window."""
        return self.missing.current == 1


class TargetDifference(Struct, frozen=True):
    """How far the labels are from those of the reference, and how many current labels are known.

    See `drift.comparison.findings.PerformanceWindow`.
    """

    difference: Share | None = None
    labels: int | None = None


class Measure(Struct, frozen=True):
    """A performance measure on the bundle's card and now, with the 95 % interval of the current value.

    `reason` says why the current value is unknown.
    """

    reference: float | None = None
    current: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str | None = None


class Performance(Struct, frozen=True):
    """The model on `labels` labelled predictions, by the figures of its task; the first is the one to show."""

    figures: Mapping[Figure, Measure] = msgspec.field(default_factory=dict)
    labels: int | None = None

    @property
    def first(self) -> tuple[str, Measure] | None:
        """The title and the values of the first figure."""
        return next(iter(self.titled), None)

    @property
    def titled(self) -> list[tuple[str, Measure]]:
        """The title and the values of each figure."""
        return [(TITLES[name], measure) for name, measure in self.figures.items()]


class Segment(Struct, frozen=True):
    """The rows with one value of a column, against those of the reference with the same value.

    `share` is None and `features` are empty if they were not compared; `verdict` says why.
    """

    value: str
    subjects: int
    share: Share | None
    verdict: Verdict
    features: tuple[FeatureDrift, ...] = ()

    @property
    def worst(self) -> float:
        """How many times its threshold the furthest feature is; 0 without features."""
        return max((each.factor for each in self.features), default=0.0)


class Segments(Struct, frozen=True):
    """The window by the values of a column, the worst segment first."""

    by: str
    segments: tuple[Segment, ...]


class Reports(Struct, frozen=True):
    """Paths or addresses of Evidently's reports; None if there was no comparison."""

    html: str | None = None
    json: str | None = None


class RunResult(Struct, frozen=True, kw_only=True):
    """One run. The order of the members is that of the JSON document."""

    schema: Literal[1]
    run_id: Annotated[str, Meta(pattern=rf"^{RUN_ID.pattern}\Z")]
    reference: Window = Window()
    current: Window = Window()
    model: Model = Model()
    share: Share | None = None
    threshold: Share
    decision: Decision
    recommendation: Recommendation
    reason: str
    verdicts: Mapping[Question, Verdict]
    features: tuple[FeatureDrift, ...] = ()
    prediction: ScoreDrift = ScoreDrift()
    target: TargetDifference = TargetDifference()
    performance: Performance = Performance()
    segments: Segments | None = None
    reports: Reports = Reports()
    trace_id: str | None = None

    def __post_init__(self) -> None:
        if missing := [question for question in QUESTIONS if question not in self.verdicts]:
            raise ValueError(f"verdicts: {missing[0]} is missing")

    @property
    def time(self) -> datetime:
        """The run's place on a time axis: the end of its window, or else when the run began."""
        return self.current.end or _began(self.run_id)

    @property
    def drifted(self) -> int:
        """How many features drifted."""
        return sum(each.detected for each in self.features)

    @property
    def ranked(self) -> list[FeatureDrift]:
        """The features, furthest from the reference first; entirely missing ones lead."""
        return sorted(self.features, key=lambda each: (each.entirely_missing, each.detected, each.ratio), reverse=True)

    def to_file(self) -> bytes:
        """The document as the text of `result.json`."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


def read_result(document: bytes | Mapping[str, Any]) -> RunResult:
    """Decode and check a result, from JSON text or from a JSON column. Unknown members are ignored.

    Raises:
        ResultError: the document is not of schema 1, or a member has another shape.
    """
    try:
        if isinstance(document, bytes):
            return msgspec.json.decode(document, type=RunResult)
        return msgspec.convert(document, RunResult)
    except msgspec.MsgspecError as error:
        raise ResultError(f"not a result of schema {SCHEMA}: {error}") from error


def evidently_line(result: RunResult) -> str:
    """The plain line: report files, share, decision and target drift; `n/a` for None."""
    if result.decision == "UNKNOWN":
        share, decision = "n/a", f"UNKNOWN {' '.join(result.reason.split())}"
    else:
        share = f"{result.share:.2f}"
        sign = ">=" if result.decision == "RETRAIN" else "<"
        decision = f"{result.decision} drift_share={share} {sign} {result.threshold:.2f}"
    files = f"report_html={result.reports.html or 'n/a'} report_json={result.reports.json or 'n/a'}"
    difference = result.target.difference
    drift = "n/a" if difference is None else f"{difference:.4f}"
    return f"[Evidently] {files} drift_share={share} -> {decision} (target_drift={drift})"


def leeway_line(result: RunResult) -> str:
    """Our line: the four verdicts, the first figure of performance if known, and the recommendation."""
    verdicts = ", ".join(f"{question} {verdict.state}" for question, verdict in result.verdicts.items())
    figures = ""
    if (first := result.performance.first) and first[1].current is not None:
        title, found = first
        card, now, low, high = (plain(each) for each in (found.reference, found.current, found.low, found.high))
        figures = f" ({title} {card} -> {now}, {low}...{high} on {result.performance.labels:,} labels)"
    return f"[Leeway] {verdicts}{figures} -> {result.recommendation}"


def plain(number: float | None) -> str:
    """A number with two decimals, a large one with four digits; `n/a` for None."""
    if number is None:
        return "n/a"
    return f"{number:.2f}" if abs(number) < _LARGE else f"{number:.4g}"
