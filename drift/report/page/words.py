"""Runs in plain words and round numbers. Times are UTC; what is None is `n/a`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from markupsafe import Markup, escape

from drift.result import FeatureDrift, RunResult, ScoreDrift, Window

HEADLINE: Final = {
    "NO_ACTION": "Nothing to do",
    "INVESTIGATE": "Have a look",
    "RETRAIN": "Retrain the model",
    "UNKNOWN": "Cannot tell",
}
STATE: Final = {"NO_ACTION": "ok", "INVESTIGATE": "watch", "RETRAIN": "act", "UNKNOWN": "unknown"}
ASKS: Final = {
    "quality": "Are the inputs sound?",
    "covariate": "Do the inputs still look as in training?",
    "prediction": "Do the scores still look as they did?",
    "performance": "Is the model still right?",
}
_METHODS = {"wasserstein": "Wasserstein", "jensenshannon": "Jensen–Shannon"}
_MISSING = "n/a"


def number(value: float | None, decimals: int = 2) -> str:
    """A number with a fixed count of decimals."""
    return _MISSING if value is None else f"{value:.{decimals}f}"


def count(value: int | None) -> str:
    """A whole number, its thousands apart."""
    return _MISSING if value is None else f"{value:,}"


def share(value: float | None) -> str:
    """A share in per cent; one that is small but not nothing says so."""
    if value is None:
        return _MISSING
    return "< 0.1 %" if 0 < value < 0.0005 else f"{100 * value:.1f} %"  # noqa: PLR2004 (what rounds to 0.0)


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
    """`1 Mar 2024, 11:45–12:00`; whole days have no time; UTC."""
    if given.start is None or given.end is None:
        return _MISSING
    start, end = given.start.astimezone(UTC), given.end.astimezone(UTC)
    if all(moment.time() == datetime.min.time() for moment in (start, end)):
        return day(start) if end - start <= timedelta(days=1) else f"{day(start)} – {day(end)}"
    return stretch(start, end)


def stretch(start: datetime, end: datetime) -> str:
    """`1 Mar 2024, 11:45–12:00`; the second day only where it is another; UTC."""
    if start.astimezone(UTC).date() == end.astimezone(UTC).date():
        return f"{day(start)}, {clock(start)}–{clock(end)}"
    return f"{day(start)}, {clock(start)} – {day(end)}, {clock(end)}"


def ago(moment: datetime, now: datetime) -> str:
    """How long before `now`, in the largest unit that fits."""
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
    """`2.0 % → 31.5 %`: the missing share in the reference and now; `0` where there was never any."""
    before, now = feature.missing.reference, feature.missing.current
    return "0" if before == now == 0 else f"{share(before)} → {share(now)}"


def breakable(name: str) -> Markup:
    """A name that may break after an underscore, on a narrow page."""
    return escape(name).replace("_", Markup("_<wbr>"))


def notes(feature: FeatureDrift) -> list[str]:
    """What a distance does not say of a feature, in a few words each."""
    said = []
    if feature.entirely_missing:
        said.append("entirely missing")
    elif feature.missing.reference != feature.missing.current:
        said.append(f"missing {missing(feature)}")
    if feature.constant:
        said.append("constant")
    if feature.new_categories:
        said.append(f"new: {', '.join(feature.new_categories)}")
    return said


def against(distance: FeatureDrift | ScoreDrift) -> str:
    """`0.420 / 0.100`: the score and the threshold that holds at this number of subjects."""
    return f"{number(distance.score, 3)} / {number(distance.threshold, 3)}"
