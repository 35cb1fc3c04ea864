from __future__ import annotations

from leeway.model.bundle import Bundle
from leeway.model.drift_plan import DriftPlan


def test_a_plan_without_a_bundle_is_made_by_the_same_rules(bundle: Bundle) -> None:
    """From the bundle's reference the plan is that of its card."""
    reference = bundle.reference()
    assert DriftPlan.from_reference(bundle.schema, reference, reference["_score"].to_numpy()) == bundle.card.drift
