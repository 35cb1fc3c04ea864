"""Charts of runs over time: the four verdicts as bands, the drift share with its threshold, a bar for each feature."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import median

from markupsafe import Markup

from drift.report.page import words
from drift.report.page.axis import TimeAxis
from drift.report.page.chart import Band, ChartLine, Marker, Stretch, element, line_chart, percent, state_timeline
from drift.result import QUESTIONS, FeatureDrift, Question, RunResult

_SMALLEST_TOP, _LARGEST_TOP = 2.0, 8.0
_GAP_INTERVALS = 3
_LONG_GAP = timedelta(days=1)
_LONG_GAP_SPANS = 3


def recent(runs: Sequence[RunResult]) -> list[RunResult]:
    """The runs that fit one time axis, oldest first; `runs` are newest first.

    An old run (the last RETRAIN is never removed) would squeeze all others into a corner. Runs before a gap of more
    than a day are left out if the gap is also three times as long as the time since.
    """
    kept: list[RunResult] = list(runs[:1])
    for newer, older in pairwise(runs):
        gap = newer.time - older.time
        if gap > _LONG_GAP and gap > _LONG_GAP_SPANS * (runs[0].time - newer.time):
            break
        kept.append(older)
    return kept[::-1]


def time_axis(runs: Sequence[RunResult]) -> TimeAxis:
    """From the start of the first window to the last run; `runs` are oldest first, at least one."""
    first, last = runs[0], runs[-1].time
    start = min(first.current.start or first.time, first.time)
    return TimeAxis(start if start < last else last - timedelta(minutes=1), last)


def verdict_chart(runs: Sequence[RunResult], axis: TimeAxis, stretches: Sequence[Stretch] = ()) -> Markup:
    """One row for each question; `runs` are oldest first."""
    rows = {question.capitalize(): _bands(runs, question, _longest_step(runs)) for question in QUESTIONS}
    return state_timeline("verdicts", "The four verdicts over time", axis, rows, stretches)


def share_chart(runs: Sequence[RunResult], axis: TimeAxis, stretches: Sequence[Stretch] = ()) -> Markup:
    """The share of drifted features, its threshold, and each change of recommendation; `runs` are oldest first.

    The line has a gap at an UNKNOWN run, and if no run finished for three intervals.
    """
    longest = _longest_step(runs)
    points: list[tuple[datetime, float | None]] = []
    for before, run in zip([None, *runs], runs, strict=False):
        if before is not None and run.time - before.time > longest:
            points.append((before.time + longest, None))
        points.append((run.time, run.share))
    limits = [(run.time, run.threshold) for run in runs]
    if limits:
        limits = [(axis.start, limits[0][1]), *limits, (axis.end, limits[-1][1])]
    return line_chart(
        "share",
        "Share of drifted features over time",
        axis,
        [ChartLine("share", points)],
        threshold=ChartLine("threshold", limits),
        markers=list(changes(runs)),
        stretches=stretches,
    )


def _longest_step(runs: Sequence[RunResult]) -> timedelta:
    """Three median intervals: a longer step between runs is a gap, as in the worker's gauges."""
    steps = [(newer.time - older.time).total_seconds() for older, newer in pairwise(runs)]
    return timedelta(seconds=_GAP_INTERVALS * median(steps)) if steps else timedelta()


def _bands(runs: Sequence[RunResult], question: Question, longest: timedelta) -> list[Band]:
    """Each run's verdict applies from the previous run, or after a gap, from the start of its window."""
    bands: list[Band] = []
    before: datetime | None = None
    for run in runs:
        start = min(run.current.start or run.time, run.time)
        if before is not None and (run.time - before <= longest or start < before):
            start = before
        state = run.verdicts[question].state
        if bands and bands[-1].state == state and bands[-1].end == start:
            bands[-1] = Band(bands[-1].start, run.time, state)
        else:
            bands.append(Band(start, run.time, state))
        before = run.time
    return bands


def changes(runs: Sequence[RunResult]) -> Iterator[Marker]:
    """A marker for each change of recommendation; `runs` are oldest first."""
    before = "NO_ACTION"
    for run in runs:
        if run.recommendation != before:
            yield Marker(run.time, words.HEADLINE[run.recommendation], words.STATE[run.recommendation])
        before = run.recommendation


def bar_top(run: RunResult) -> float:
    """The length of the bar axis of one run, in thresholds: that of the longest bar, between 2 and 8."""
    longest = max((feature.ratio for feature in run.features), default=0.0)
    return min(max(longest, _SMALLEST_TOP), _LARGEST_TOP)


def bar(feature: FeatureDrift, top: float) -> Markup:
    """Score ÷ threshold as a bar up to `top`, with a vertical line at the threshold; hollow if entirely missing."""
    ratio = top if feature.entirely_missing else min(feature.ratio, top)
    style = "absent" if feature.entirely_missing else "over" if feature.detected else "under"
    limit = percent(100 / top)
    title = f"{feature.feature}: score {words.number(feature.score, 3)}, threshold {words.number(feature.threshold, 3)}"
    return element(
        "svg",
        element("title", title),
        element("rect", width="100%", height="8", y="3", rx="1.5", class_="track"),
        element("rect", width=percent(100 * ratio / top), height="8", y="3", rx="1.5", class_=style),
        element("line", x1=limit, x2=limit, y1="0", y2="14"),
        class_="bar",
        role="img",
        width="100%",
        height="14",
    )
