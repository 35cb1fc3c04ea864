from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import msgspec
import pytest

from drift.comparison.findings import DriftReport
from drift.verdicts.confirmation import Policy, State
from drift.verdicts.verdicts import Judgement, judge
from tests.drift.comparisons import NOON, POLICY, report, seen


def worked(
    states: Sequence[DriftReport | None], policy: Policy = POLICY, state: State | None = None
) -> list[Judgement]:
    """The judgements of windows of 15 minutes, one a minute."""
    judged: list[Judgement] = []
    for minute, found in enumerate(states):
        judged.append(judge(seen(found, minute), policy, judged[-1].state if judged else state))
    return judged


def retrained(judged: list[Judgement]) -> list[int]:
    """The minutes at which RETRAIN was recommended."""
    return [minute for minute, each in enumerate(judged) if each.recommendation == "RETRAIN"]


OVER, UNDER = report(drifted=3), report()


def test_confirmation_takes_windows_that_do_not_overlap() -> None:
    """At an interval of 60 s and a window of 900 s three confirmations take half an hour, not two minutes."""
    judged = worked([OVER] * 40)
    assert retrained(judged) == list(range(30, 40))
    assert [len(judged[minute].state.counted) for minute in (0, 14, 15, 29, 30)] == [1, 1, 2, 2, 3]


def test_a_window_below_the_threshold_resets_the_count() -> None:
    """After a window without drift the count starts again."""
    judged = worked([OVER] * 29 + [UNDER] + [OVER] * 31)
    assert retrained(judged) == [60]


def test_an_unknown_window_does_not_change_the_count() -> None:
    """After UNKNOWN the count continues where it was."""
    judged = worked([OVER] * 20 + [None] * 5 + [OVER] * 10)
    assert retrained(judged) == list(range(30, 35))
    assert {each.recommendation for each in judged[20:25]} == {"UNKNOWN"}


def test_a_retrain_stands_while_its_reason_does() -> None:
    """Neither its own cooldown nor an UNKNOWN run ends it."""
    judged = worked([OVER] * 100 + [None] + [OVER] * 20)
    assert retrained(judged) == [*range(30, 100), *range(101, 121)]


def test_a_new_retrain_waits_for_the_cooldown() -> None:
    """Confirmed again within the hour: INVESTIGATE until an hour after the last RETRAIN began."""
    judged = worked([OVER] * 31 + [UNDER] + [OVER] * 80)
    assert retrained(judged) == [30, *range(90, 112)]
    assert "not repeated before 2026-03-01T13:30:00+00:00" in judged[70].reason


def test_a_new_model_version_starts_a_new_count() -> None:
    """Breaches of another version do not count, and a new model is not retrained within the hour."""
    old = worked([OVER] * 31)[-1]
    new = judge(seen(OVER, 46, version="v2"), POLICY, old.state)
    assert new.recommendation == "INVESTIGATE"
    assert len(new.state.counted) == 1
    assert new.state.retrain_at == NOON + timedelta(minutes=30)


def test_a_clock_stepping_back_counts_nothing_twice() -> None:
    """After a step back of ten minutes confirmation takes the same half hour, and no window is lost."""
    before = worked([OVER] * 16)[-1].state
    assert len(before.counted) == 2
    after = [judge(seen(OVER, 5), POLICY, before)]
    for minute in range(6, 40):
        after.append(judge(seen(OVER, minute), POLICY, after[-1].state))
    first = next(place for place, each in enumerate(after) if each.recommendation == "RETRAIN")
    assert first == 15


def test_a_clock_that_was_years_ahead_delays_nothing() -> None:
    """Counts and cooldowns from the future count as now."""
    future = NOON + timedelta(days=2_000)
    state = State("v1", (future,), future, standing=False)
    judged = worked([OVER] * 80, state=state)
    assert retrained(judged) == list(range(60, 80))


def test_a_state_survives_json() -> None:
    """The stored state is complete."""
    state = worked([OVER] * 31)[-1].state
    assert msgspec.json.decode(msgspec.json.encode(state), type=State) == state
    assert msgspec.convert(msgspec.to_builtins(State("v1")), State) == State("v1")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "model_version"),
        ({"model_version": "v1", "counted": ["2026-03-01"]}, "counted"),
        ({"model_version": "v1", "retrain_at": "2026-03-01T12:00:00"}, "retrain_at"),
    ],
)
def test_another_state_is_rejected(document: dict[str, object], message: str) -> None:
    """A state of another shape, or with naive times, is a ValueError."""
    with pytest.raises(ValueError, match=message):
        msgspec.convert(document, State)
