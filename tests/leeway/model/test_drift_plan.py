from __future__ import annotations

import pytest

from leeway.model.bundle import Bundle
from leeway.model.drift_plan import DriftPlan


def test_a_plan_without_a_bundle_is_made_by_the_same_rules(bundle: Bundle) -> None:
    """From the bundle's reference the plan is that of its card."""
    reference = bundle.reference()
    assert DriftPlan.from_reference(bundle.schema, reference, reference["_score"]) == DriftPlan.from_card(bundle.card)


def test_a_card_without_a_plan_is_refused() -> None:
    """The message says what is missing and what to do."""
    with pytest.raises(ValueError, match="train again"):
        DriftPlan.from_card({"name": "churn"})
