"""A whole extract, to be read or to be spoilt."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.leeway.data.extract.files import LABELS, PAYMENTS, SUBSCRIPTIONS, SUPPORT, USAGE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A whole extract of three customers."""
    texts = {
        "subscriptions.csv": SUBSCRIPTIONS,
        "usage_agg_30d.csv": USAGE,
        "payments_agg_90d.csv": PAYMENTS,
        "support_agg_90d.csv": SUPPORT,
        "labels.csv": LABELS,
        "users.csv": "user_id,user_gender\na-1,Female",
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    return tmp_path
