"""Runs as text and rounded numbers. Times are UTC; None is `n/a`."""

from __future__ import annotations

from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from typing import Final

from markupsafe import Markup, escape

from drift.result import FeatureDrift, RunResult, ScoreDrift, Segment, Window

HEADLINE: Final = {
    "NO_ACTION": "No action needed",
    "INVESTIGATE": "Investigate",
    "RETRAIN": "Retrain the model",
    "UNKNOWN": "Drift unknown",
}
STATE: Final = {"NO_ACTION": "ok", "INVESTIGATE": "watch", "RETRAIN": "act", "UNKNOWN": "unknown"}
ASKS: Final = {
    "quality": "Is the input data valid?",
    "covariate": "Do the inputs still match the reference?",
    "prediction": "Do the scores still match the reference?",
    "performance": "Does the model still perform as on its card?",
}
_METHODS = {"wasserstein": "Wasserstein", "jensenshannon": "Jensen–Shannon"}
_MISSING = "n/a"
_HEAT = (0.5, 1, 2, 3)


def number(value: float | None, decimals: int = 2) -> str:
    """A number with a fixed number of decimals."""
    return _MISSING if value is None else f"{value:.{decimals}f}"


def count(value: int | None) -> str:
    """A whole number with thousands separators."""
    return _MISSING if value is None else f"{value:,}"


def share(value: float | None) -> str:
    """A share in per cent; a tiny one is not shown as zero."""
    if value is None:
        return _MISSING
    return "< 0.1 %" if 0 < value < 0.0005 else f"{100 * value:.1f} %"  # noqa: PLR2004 (what rounds to 0.0)


def factors(segment: Segment, run: RunResult) -> list[float | None]:
    """How many times its threshold each feature of a segment is, in the order of the run's; None if not compared."""
    found = {each.feature: each.factor for each in segment.features}
    return [found.get(each.feature) for each in run.ranked]


def heat(factor: float | None) -> str:
    """The colour of a cell in the table of segments: from half of its threshold on a feature is marked."""
    if factor is None:
        return ""
    return f"heat-{bisect_right(_HEAT, factor)}"


def method(name: str | None) -> str:
    """A distance's name as papers write it."""
    return _MISSING if name is None else _METHODS.get(name, name)


def clock(moment: datetime) -> str:
    """`11:45`."""
    return f"{moment.astimezone(UTC):%H:%M}"


def day(moment: datetime) -> str:
    """`1 Mar 2024`."""
    at = moment.astimezone(UTC)
    return f"{at.day} {at:%b %Y}"


def window(given: Window) -> str:
    """`1 Mar 2024, 11:45–12:00`, in UTC; whole days have no time."""
    if given.start is None or given.end is None:
        return _MISSING
    start, end = given.start.astimezone(UTC), given.end.astimezone(UTC)
    if all(moment.time() == datetime.min.time() for moment in (start, end)):
        return day(start) if end - start <= timedelta(days=1) else f"{day(start)} – {day(end)}"
    return stretch(start, end)


def stretch(start: datetime, end: datetime) -> str:
    """`1 Mar 2024, 11:45–12:00`, in UTC; with a second date if it differs."""
    if start.astimezone(UTC).date() == end.astimezone(UTC).date():
        return f"{day(start)}, {clock(start)}–{clock(end)}"
    return f"{day(start)}, {clock(start)} – {day(end)}, {clock(end)}"


def ago(moment: datetime, now: datetime) -> str:
    """The time since `moment`, in the largest unit that fits."""
    seconds = (now - moment).total_seconds()
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size:
            amount = int(seconds // size)
            return f"{amount} {unit}{'s' if amount != 1 else ''} ago"
    return "just now"


def drifted(run: RunResult) -> str:
    """`5 of 14 features drifted`."""
    if run.share is None:
        return "no comparison"
    return f"{run.drifted} of {len(run.features)} features drifted"


def missing(feature: FeatureDrift) -> str:
    """`2.0 % → 31.5 %`: the missing share in the reference and now; `0` if both are zero."""
    before, now = feature.missing.reference, feature.missing.current
    return "0" if before == now == 0 else f"{share(before)} → {share(now)}"


def breakable(name: str) -> Markup:
    """A name that may break after an underscore, on a narrow page."""
    return escape(name).replace("_", Markup("_<wbr>"))


def notes(feature: FeatureDrift) -> list[str]:
    """What the distance of a feature does not show, in a few words each."""
    found = []
    if feature.entirely_missing:
        found.append("entirely missing")
    elif feature.missing.reference != feature.missing.current:
        found.append(f"missing {missing(feature)}")
    if feature.constant:
        found.append("constant")
    if feature.new_categories:
        found.append(f"new: {', '.join(feature.new_categories)}")
    return found


def against(distance: FeatureDrift | ScoreDrift) -> str:
    """`0.420 / 0.100`: the score and its effective threshold."""
    return f"{number(distance.score, 3)} / {number(distance.threshold, 3)}"
