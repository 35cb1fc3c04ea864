"""The last test: `down` and `up` again."""

from __future__ import annotations

import pytest

from benchmarks.live import backends
from benchmarks.live.load import Load
from benchmarks.live.stack import SERVICE, Stack, eventually, get
from tests.stack.test_2_outages import recorded

pytestmark = pytest.mark.stack


def test_a_second_up_keeps_the_data(stack: Stack, load: Load) -> None:
    """Predictions, model and traces survive `down` and `up`."""
    trace_id = next(each.trace_id for each in load.sent if each.kind == "features" and each.trace_id)
    before, model = set(recorded(stack)), get(f"{SERVICE}/model").json()["version"]
    stack.compose("down", "--timeout", "15")
    stack.compose("up", "--detach", *stack.services)
    eventually(lambda: get(f"{SERVICE}/health/ready").is_success, 60)
    assert before
    assert before <= set(recorded(stack))
    assert get(f"{SERVICE}/model").json()["version"] == model
    assert eventually(lambda: backends.spans(trace_id), 30)
