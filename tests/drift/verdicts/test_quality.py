from __future__ import annotations

import pytest

from drift.comparison.findings import RejectionCause, Rejections, SingleValue
from drift.result import MissingShares, Verdict
from drift.verdicts.quality import judge_quality, surely
from tests.drift.comparisons import feature, report


def test_quality_is_ok_without_changes() -> None:
    """Nothing missing, new, outside the range or rejected: ok."""
    assert judge_quality(report(feature(outside_reference=0.012)), Rejections(999, 1)).state == "ok"


def test_quality_is_unknown_without_data() -> None:
    """No report and no rejections: unknown, with the reason."""
    verdict = judge_quality(None, None, "the database is down")
    assert (verdict.state, verdict.evidence) == ("unknown", "the database is down")


@pytest.mark.parametrize(("rejected", "state"), [(0, "ok"), (9, "ok"), (10, "watch"), (99, "watch"), (100, "act")])
def test_quality_counts_rejections(rejected: int, state: str) -> None:
    """From 1 % of the items the verdict is watch, from 10 % act."""
    assert judge_quality(report(), Rejections(1_000 - rejected, rejected)).state == state


def test_quality_names_the_most_frequent_cause() -> None:
    """The evidence names the feature and the reason behind most rejections."""
    causes = (RejectionCause("skips_7d", "out_of_range", 30), RejectionCause("monthly_fee", "wrong_type", 170))
    evidence = judge_quality(report(), Rejections(800, 200, causes)).evidence
    assert "200 of 1,000 items" in evidence
    assert "monthly_fee (wrong_type)" in evidence


def test_a_few_rejections_are_only_watched() -> None:
    """One rejected item of five is a fifth, and not enough to act."""
    assert judge_quality(report(), Rejections(4, 1)).state == "watch"


def test_quality_counts_rejections_without_a_window() -> None:
    """If everything is rejected nothing can be compared, and the verdict is act."""
    assert judge_quality(None, Rejections(0, 500), "0 subjects").state == "act"


def test_quality_acts_on_a_missing_feature() -> None:
    """Entirely missing now, and not in the reference: act, by name."""
    verdict = judge_quality(report(feature("fee", None, missing=MissingShares(0.0, 1.0), detected=True)), None)
    assert verdict.state == "act"
    assert "fee is entirely missing" in verdict.evidence


def test_a_feature_that_was_always_missing_is_ok() -> None:
    """Entirely missing in both windows: ok."""
    verdict = judge_quality(report(feature("fee", None, missing=MissingShares(1.0, 1.0))), None)
    assert verdict.state == "ok"


@pytest.mark.parametrize(
    ("before", "now", "rows", "state"),
    [
        (0.2, 0.23, 1_000, "ok"),
        (0.2, 0.26, 1_000, "ok"),  # four standard errors are 0.06
        (0.2, 0.28, 1_000, "watch"),
        (0.2, 0.31, 1_000, "act"),
        (0.31, 0.2, 1_000, "act"),
        (0.2, 0.27, 200, "ok"),
        (0.2, 0.31, 200, "watch"),  # four standard errors are 0.12
        (0.2, 0.35, 200, "act"),
    ],
)
def test_quality_sees_a_changed_missing_share(before: float, now: float, rows: int, state: str) -> None:
    """Above 0.1 act, above 0.05 watch, in either direction; a change within chance is never act."""
    moved = feature(missing=MissingShares(before, now))
    assert judge_quality(report(moved, rows=rows), None).state == state


@pytest.mark.parametrize(
    ("share", "rows", "state"), [(0.002, 1_000, "watch"), (0.04, 1_000, "act"), (0.01, 200, "watch")]
)
def test_quality_sees_new_categories(share: float, rows: int, state: str) -> None:
    """A few new values are watched; surely more than 1 % is act."""
    new = feature("net_service", outside_reference=share, new_categories=("Satellite",))
    verdict = judge_quality(report(new, rows=rows), None)
    assert verdict.state == state
    assert "Satellite" in verdict.evidence


@pytest.mark.parametrize(("share", "state"), [(0.001, "watch"), (0.5, "act")])
def test_quality_sees_a_constant_that_began_to_vary(share: float, state: str) -> None:
    """One other value is watched, more is act."""
    found = report(feature("still", outside_reference=share), single_values={"still": SingleValue("7", None, 0.0)})
    verdict = judge_quality(found, None)
    assert verdict.state == state
    assert f"still was always 7 and differs in {share:.1%} of the rows" in verdict.evidence


def test_quality_names_both_values_of_a_constant() -> None:
    """Always 7 in the reference, always 8 now: act, with both values."""
    found = report(feature("still", outside_reference=1.0), single_values={"still": SingleValue("7", "8", 0.0)})
    assert judge_quality(found, None) == Verdict("act", "still was always 7 and is now 8.")


@pytest.mark.parametrize(
    ("share", "rows", "state"),
    [(0.0, 20, "act"), (0.0, 19, "ok"), (0.5, 200, "act"), (0.5, 19, "ok"), (0.9, 200, "act"), (0.9, 100, "ok"),
     (0.95, 50_000, "ok")],
)  # fmt: skip
def test_quality_sees_a_feature_that_no_longer_varies(share: float, rows: int, state: str) -> None:
    """The same value in every row is act, unless chance or a value that nearly all of the reference has explains it."""
    found = report(feature("fee"), single_values={"fee": SingleValue(None, "0", share)}, rows=rows)
    verdict = judge_quality(found, None)
    assert verdict.state == state
    if state == "act":
        expected = f"{share:.1%} of the reference" if share else "never in the reference"
        assert verdict.evidence == f"fee is 0 in every row ({expected})."


@pytest.mark.parametrize(("share", "state"), [(0.5, "act"), (0.01, "watch")])
def test_quality_sees_the_first_values_of_a_feature(share: float, state: str) -> None:
    """Entirely missing in the reference: values now are act, and a few are watched."""
    first = feature("fee", None, missing=MissingShares(1.0, 1 - share), outside_reference=1.0, new_categories=("a",))
    verdict = judge_quality(report(first), None)
    assert verdict.state == state
    assert verdict.evidence == f"fee had no values in the reference, and has one in {share:.1%} of the rows."


@pytest.mark.parametrize(
    ("share", "rows", "state"),
    [(0.02, 1_000, "ok"), (0.06, 200, "ok"), (0.06, 1_000, "watch"), (0.2, 1_000, "act"), (1.0, 200, "act")],
)
def test_quality_sees_values_outside_the_reference(share: float, rows: int, state: str) -> None:
    """1 % are outside by definition; surely more than 3 % is watch, surely more than 10 % act."""
    assert judge_quality(report(feature(outside_reference=share), rows=rows), None).state == state


def test_quality_lists_the_worst_first() -> None:
    """Three findings are listed, those that are act first, and the others counted."""
    many = [feature(f"f{place}", outside_reference=0.06) for place in range(4)]
    evidence = judge_quality(report(*many, feature("fee", outside_reference=1.0)), None).evidence
    assert evidence.startswith("100.0% of the values of fee")
    assert evidence.endswith("and 2 more.")


@pytest.mark.parametrize(("share", "rows"), [(0.0, 200), (0.01, 200), (0.5, 50), (1.0, 1)])
def test_the_lower_end_is_below_the_share(share: float, rows: int) -> None:
    """The lower end of a share's interval is between 0 and the share."""
    assert 0 <= surely(share, rows) <= share
