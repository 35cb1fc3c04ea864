"""The quality verdict: is the input data valid? Pure functions.

A distance may miss all of this: a fee multiplied by 100 is one drifted feature of fourteen, and a rejected request is
in no window at all.

Chance must not raise an alarm. A share of n values counts as above a limit only if it *surely* is: if the lower end of
Wilson's interval (Journal of the American Statistical Association 22, 1927) at 99.9 %, one-sided, is above it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from drift.comparison.findings import MISSING_MOVED, DriftReport, Rejections
from drift.result import FeatureDrift, Verdict

REJECTED_ACT: Final = 0.10
REJECTED_WATCH: Final = 0.01
REJECTED_LEAST: Final = 10
"""Fewer rejected items are watched at most."""
NEW_ACT: Final = 0.01
OUTSIDE_ACT: Final = 0.10
OUTSIDE_WATCH: Final = 0.03
"""By definition of the range, 1 % of the values lie outside it without any drift."""
MISSING_WATCH: Final = MISSING_MOVED / 2

SINGLE_SHARE: Final = 0.9
SINGLE_LEAST: Final = 20
_BY_CHANCE: Final = 1e-6
_SURE: Final = 3.0902  # the 99.9 % quantile of the normal distribution
_FOUR_ERRORS: Final = 4.0  # standard errors: features go missing together, and there are many
_MOST_FINDINGS: Final = 3  # in one sentence


@dataclass(frozen=True)
class _Finding:
    state: Literal["watch", "act"]
    weight: float  # the heaviest comes first
    words: str


def judge_quality(report: DriftReport | None, rejections: Rejections | None, unknown_reason: str = "") -> Verdict:
    """Judge the input data; `unknown_reason` says why there is no report.

    `act` if
    - at least 10 % of the items were rejected (and at least 10 items);
    - a feature is entirely missing that was not so in the reference, or its missing share moved by more than 0.1 and
      by more than four standard errors of the difference;
    - surely more than 1 % of a feature's values are new: a category never seen, or any other value of a feature that
      was constant in the reference;
    - a feature has the same value in every row, at least 20 of them, that at most 90 % of the reference's values had,
      and a chance below one in a million to have it;
    - surely more than 10 % of a feature's values lie outside the reference's 0.5–99.5 % range.

    `watch` if 1 % of the items were rejected, a missing share moved by more than 0.1 (or by more than 0.05 and four
    standard errors), a single value is new, or surely more than 3 % lie outside the range. Otherwise `ok`, or `unknown`
    without a report.
    """
    found = [*_rejected(rejections), *(_features(report) if report else ())]
    if found:
        found.sort(key=lambda each: (each.state != "act", -each.weight))
        more = len(found) - _MOST_FINDINGS
        evidence = "; ".join(each.words for each in found[:_MOST_FINDINGS]) + (f"; and {more} more" if more > 0 else "")
        return Verdict(found[0].state, evidence + ".")
    if report is None:
        return Verdict("unknown", unknown_reason)
    rejected = (
        "" if rejections is None else f" {rejections.rejected:,} of {_requested(rejections):,} items were rejected."
    )
    return Verdict("ok", "Missing values, ranges and categories match the reference." + rejected)


def _rejected(rejections: Rejections | None) -> Iterator[_Finding]:
    if rejections is None or rejections.share < REJECTED_WATCH:
        return
    acts = rejections.share >= REJECTED_ACT and rejections.rejected >= REJECTED_LEAST
    causes = sorted(rejections.causes, key=lambda each: (-each.items, each.feature or "", each.reason))
    cause = f", most for {causes[0].feature or 'no feature'} ({causes[0].reason})" if causes else ""
    words = f"{rejections.rejected:,} of {_requested(rejections):,} items were rejected{cause}"
    yield _Finding("act" if acts else "watch", rejections.share, words)


def _requested(rejections: Rejections) -> int:
    return rejections.answered + rejections.rejected


def _features(report: DriftReport) -> Iterator[_Finding]:
    for each in report.features:
        yield from _missing(each, report)
        present = round(report.current_rows * (1 - each.missing.current))
        if not present or each.missing.reference == 1:
            continue  # nothing to compare with; the finding above says so
        single = report.single_values.get(each.feature)
        if single and single.before:
            yield _no_longer_constant(each, single.before, single.now, present)
        elif single and single.now and _stuck(single.share, present, report.reference_rows):
            share = f"{single.share:.1%} of the reference" if single.share else "never in the reference"
            yield _Finding("act", 1 - single.share, f"{each.feature} is {single.now} in every row ({share})")
        elif each.new_categories:
            yield _new(each, present)
        else:
            yield from _outside(each, present)


def _stuck(share: float, present: int, reference_rows: int) -> bool:
    """Whether a value that this share of the reference has is in all present rows, and surely not by chance."""
    likely = max(share, 1 / reference_rows)
    return present >= SINGLE_LEAST and share <= SINGLE_SHARE and likely**present < _BY_CHANCE


def _missing(each: FeatureDrift, report: DriftReport) -> Iterator[_Finding]:
    moved = abs(each.missing.current - each.missing.reference)
    if each.missing.current == 1 and moved:
        yield _Finding("act", 2, f"{each.feature} is entirely missing")
        return
    if each.missing.reference == 1 and moved:
        words = f"{each.feature} had no values in the reference, and has one in {moved:.1%} of the rows"
        yield _Finding("act" if surely(moved, report.current_rows) > NEW_ACT else "watch", moved, words)
        return
    n, m = report.current_rows, report.reference_rows
    pooled = (each.missing.current * n + each.missing.reference * m) / (n + m)
    chance = _FOUR_ERRORS * math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m))
    if moved > MISSING_MOVED or moved > max(MISSING_WATCH, chance):
        state: Literal["watch", "act"] = "act" if moved > max(MISSING_MOVED, chance) else "watch"
        before, now = each.missing.reference, each.missing.current
        words = f"{each.feature} is missing in {now:.1%} of the rows ({before:.1%} in the reference)"
        yield _Finding(state, moved, words)


def _no_longer_constant(each: FeatureDrift, before: str, now: str | None, present: int) -> _Finding:
    changed = f"is now {now}" if now else f"differs in {each.outside_reference:.1%} of the rows"
    return _Finding(
        _by_share_of_new(each, present), each.outside_reference, f"{each.feature} was always {before} and {changed}"
    )


def _new(each: FeatureDrift, present: int) -> _Finding:
    names = ", ".join(each.new_categories[:2]) + (", …" if len(each.new_categories) > 2 else "")  # noqa: PLR2004 (the two shown)
    words = f"{each.outside_reference:.1%} of the values of {each.feature} are new: {names}"
    return _Finding(_by_share_of_new(each, present), each.outside_reference, words)


def _by_share_of_new(each: FeatureDrift, present: int) -> Literal["watch", "act"]:
    return "act" if surely(each.outside_reference, present) > NEW_ACT else "watch"


def _outside(each: FeatureDrift, present: int) -> Iterator[_Finding]:
    share = surely(each.outside_reference, present)
    if share > OUTSIDE_WATCH:
        outside = f"{each.outside_reference:.1%} of the values of {each.feature}"
        words = f"{outside} are outside the reference range (1% expected)"
        yield _Finding("act" if share > OUTSIDE_ACT else "watch", each.outside_reference, words)


def surely(share: float, n: int) -> float:
    """The lower end of Wilson's interval of a share among n, at 99.9 %, one-sided."""
    squared = _SURE**2 / n
    margin = _SURE * math.sqrt(share * (1 - share) / n + squared / (4 * n))
    return max(0.0, (share + squared / 2 - margin) / (1 + squared))
