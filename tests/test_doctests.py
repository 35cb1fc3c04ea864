"""The examples in docstrings."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
WITH_PARTS = {"service.app", "service.core.predictor"}
"""Their examples need objects that the tests of these modules make."""
PACKAGES = ("leeway", "service", "drift", "cli")
MODULES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for package in PACKAGES
    for path in (ROOT / package).rglob("*.py")
    if ">>> " in path.read_text()
)


@pytest.mark.parametrize("module", [name for name in MODULES if name not in WITH_PARTS])
def test_the_examples_of_a_module_are_true(module: str) -> None:
    """They run, and give what they show."""
    found = doctest.testmod(importlib.import_module(module))
    assert found.attempted > 0
    assert found.failed == 0
