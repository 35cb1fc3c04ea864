"""One run as a page shows it: what `result.json` of schema 1 holds, checked once while it is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

SCHEMA: Final = 1
RUN_ID: Final = re.compile(r"[0-9a-f-]{36}")
QUESTIONS: Final = ("quality", "covariate", "prediction", "performance")
_YEARS = (1970, 9000)
_LATEST_S = datetime(_YEARS[1], 1, 1, tzinfo=UTC).timestamp()

State: TypeAlias = Literal["ok", "watch", "act", "unknown"]
Recommendation: TypeAlias = Literal["NO_ACTION", "INVESTIGATE", "RETRAIN", "UNKNOWN"]


class SummaryError(ValueError):
    """A document is not a result of schema 1; the message says where it differs."""


def _in_utc(moment: datetime) -> datetime:
    """A date or a naive time counts as UTC: documents are ours, and what can be read should be."""
    if not _YEARS[0] <= moment.year <= _YEARS[1]:
        raise ValueError(f"year {moment.year} is no time of a run")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


Moment: TypeAlias = Annotated[datetime, AfterValidator(_in_utc)]


class _Part(BaseModel):
    """A part of the document; members that the page does not show are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: Any) -> Any:  # noqa: ANN401 (pydantic hands over whatever there was)
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class Window(_Part):
    """Which rows were compared."""

    start: Moment | None = Field(default=None, alias="from")
    end: Moment | None = Field(default=None, alias="to")
    rows: int | None = None
    subjects: int | None = None


class Model(_Part):
    """Which model the run looked at."""

    name: str | None = None
    version: str | None = None


class Verdict(_Part):
    """The answer to one of the four questions."""

    state: State = "unknown"
    evidence: str = ""


class Distance(_Part):
    """A distribution's distance from the reference's, and the distance that stands out at this number of subjects."""

    method: str | None = None
    score: float | None = None
    threshold: float | None = None
    detected: bool | None = None

    @property
    def ratio(self) -> float | None:
        """Score ÷ threshold: 1 is as far as chance alone would go."""
        return None if self.score is None or not self.threshold else self.score / self.threshold


class MissingShares(_Part):
    """Shares of rows without a value, 0 to 1."""

    reference: float | None = None
    current: float | None = None


class FeatureDistance(Distance):
    """What was found of one feature."""

    feature: str
    constant: bool = False
    missing: MissingShares = MissingShares()
    outside_reference: float | None = None
    new_categories: tuple[str, ...] = ()

    @property
    def entirely_missing(self) -> bool:
        """Not one value in the current window."""
        return self.missing.current == 1


class Target(_Part):
    """Absolute difference of the two label rates."""

    difference: float | None = None
    labels: int | None = None


class Measure(_Part):
    """A measure of the model's worth on the reference and now, with its 95 % interval."""

    reference: float | None = None
    current: float | None = None
    low: float | None = None
    high: float | None = None


class Performance(_Part):
    """How well the model does where labels are known."""

    roc_auc: Measure = Measure()
    brier: Measure = Measure()
    labels: int | None = None


class RunSummary(_Part):
    """One run. What could not be computed is None."""

    run_id: str = Field(pattern=r"^[0-9a-f-]{36}$")
    finished_at: Moment | None = None
    reference: Window = Field(default_factory=Window)
    current: Window = Field(default_factory=Window)
    model: Model = Model()
    share: float | None = None
    threshold: float | None = None
    decision: str | None = None
    recommendation: Recommendation
    reason: str = ""
    verdicts: Mapping[str, Verdict] = Field(default_factory=dict)
    features: tuple[FeatureDistance, ...] = ()
    prediction: Distance = Distance()
    target: Target = Target()
    performance: Performance = Performance()
    trace_id: str | None = None

    @property
    def time(self) -> datetime:
        """Where the run stands on the time axis: its window's end, or else when it finished or was begun."""
        return self.current.end or self.finished_at or _begun(self.run_id)

    def verdict(self, question: str) -> Verdict:
        """The verdict on one of `QUESTIONS`; unknown where the run has none."""
        return self.verdicts.get(question, Verdict())

    @property
    def drifted(self) -> int:
        """How many features drifted."""
        return sum(1 for feature in self.features if feature.detected)

    @property
    def ranked(self) -> list[FeatureDistance]:
        """The features, farthest from their reference first: score ÷ threshold; one without any value leads."""
        return sorted(self.features, key=_distance, reverse=True)


def _distance(feature: FeatureDistance) -> tuple[bool, bool, float]:
    return feature.entirely_missing, bool(feature.detected), feature.ratio or 0.0


def _begun(run_id: str) -> datetime:
    """The time in a UUIDv7: its first 48 bits are Unix milliseconds (RFC 9562)."""
    unix_ms = int(run_id.replace("-", "")[:12] or "0", 16)
    return datetime.fromtimestamp(min(unix_ms / 1_000, _LATEST_S), UTC)


def read_summary(document: Any) -> RunSummary:  # noqa: ANN401 (whatever a JSON file held)
    """Check a result document.

    Raises:
        SummaryError: it is not of schema 1, or a member has another shape.
    """
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise SummaryError(f"not a result of schema {SCHEMA}")
    try:
        return RunSummary.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise SummaryError(f"{where}: {first['msg']}") from error
