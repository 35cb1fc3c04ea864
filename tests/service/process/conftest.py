"""What the processes here are asked."""

from __future__ import annotations

from typing import Any

import pytest

from leeway.model.bundle import Bundle


@pytest.fixture(scope="module")
def example(bundle: Bundle) -> dict[str, Any]:
    """A body that is answered."""
    return {"features": dict(bundle.card.example)}
