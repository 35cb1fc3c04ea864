from __future__ import annotations

import pytest

from tests.conftest import FIRST, WAITING, group_of
from tests.preloaded import ROOT


@pytest.mark.parametrize(
    ("nodeid", "group"),
    [
        ("tests/test_leaks.py::test_a_thread", "tests/test_leaks.py"),
        ("tests/browser/test_docs.py::test_x[a b]", "tests/browser/"),
        ("tests/drift/test_examples.py::test_x", "Evidently"),
        ("tests/docs/test_tutorial.py::test_x[tutorial step 3]", "tests/docs/test_tutorial.py tutorial"),
        ("tests/docs/test_tutorial.py::test_y[tutorial]", "tests/docs/test_tutorial.py tutorial"),
        ("tests/docs/test_tutorial.py::test_z", "tests/docs/test_tutorial.py "),
    ],
)
def test_what_shares_a_costly_start_shares_a_process(nodeid: str, group: str) -> None:
    """So do modules that import Evidently, those of the browser, and the steps of one tutorial."""
    assert group_of(nodeid) == group


def test_the_modules_of_the_order_exist() -> None:
    """A module that is renamed would lose its place in the order."""
    assert [name for name in (*FIRST, *WAITING) if not (ROOT / name).exists()] == []
