from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from leeway.model.bundle import Bundle
from leeway.telemetry import names
from tests.service.http.fault_routes.asking import SLOW
from tests.service.observed import Observed
from tests.service.processes import ROOT, TWO_WORKERS, ended, environment


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_elsewhere_the_routes_do_not_exist(strict: Observed, method: str) -> None:
    """Without LEEWAY_FAULTS=on nothing is at /faults: 404, as at any other address."""
    response = strict.client.request(method, "/faults", json={**SLOW, "seconds": 60})
    assert (response.status_code, response.json()["type"]) == (404, "urn:leeway:problem:not-found")


def test_elsewhere_the_docs_do_not_speak_of_them(strict: Observed) -> None:
    """OpenAPI knows no /faults."""
    assert "/faults" not in strict.client.get("/openapi.json").json()["paths"]


def test_elsewhere_there_is_no_gauge(strict: Observed) -> None:
    """The gauge is not reported at all."""
    strict.predict()
    assert names.FAULT_ACTIVE.name not in strict.telemetry.collect().metrics


WRAPPERS = """
import gc
from contextlib import ExitStack
from leeway.settings import ServiceSettings
from service.__main__ import compose
from service.core.faults import FaultySnapshots, FaultyScorer
with ExitStack() as stack:
    kept = compose(ServiceSettings.read(), stack)
    there = [type(each).__name__ for each in gc.get_objects() if type(each) in (FaultySnapshots, FaultyScorer)]
print(*sorted(there))
"""


@pytest.mark.parametrize(("allowed", "wrappers"), [("off", ""), ("on", "FaultyScorer FaultySnapshots")])
def test_wrappers_stand_only_where_faults_are_allowed(
    bundle: Bundle, tmp_path: Path, allowed: str, wrappers: str
) -> None:
    """Where faults are not allowed nothing stands between the use case and its scorer and snapshots."""
    env = environment(bundle, tmp_path, LEEWAY_FAULTS=allowed)
    done = subprocess.run(
        [sys.executable, "-c", WRAPPERS], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1:] == [wrappers]


def test_several_workers_cannot_have_faults(bundle: Bundle, tmp_path: Path) -> None:
    """A fault would strike in one worker only: refused, with the reason and the way out."""
    env = environment(bundle, tmp_path, LEEWAY_FAULTS="on", LEEWAY_METRICS_ENDPOINT="off")
    done = ended(env, TWO_WORKERS)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2
    assert "LEEWAY_FAULTS" in line
