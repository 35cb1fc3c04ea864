"""The Collector's configuration is valid, with and without sampling."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
import yaml

CONFIGURATION: Final = Path(__file__).parents[2] / "otel-collector"
IMAGE: Final = "otel/opentelemetry-collector-contrib:0.161.0"
SEEN_AT: Final = "/etc/otelcol-contrib"


def validate(folder: Path, sampling: str) -> subprocess.CompletedProcess[str]:
    """Let the Collector validate the configuration in `folder`; skip the test if its image is not present."""
    docker = shutil.which("docker")
    inspect = [docker or "docker", "image", "inspect", IMAGE]
    if docker is None or subprocess.run(inspect, capture_output=True, check=False, timeout=30).returncode:
        pytest.skip(f"the image {IMAGE} is not present")
    run = [
        docker,
        "run",
        "--rm",
        "--network=none",
        f"--volume={folder}:{SEEN_AT}:ro",
        "--tmpfs=/var/lib/otelcol",
        IMAGE,
    ]
    files = [f"--config={SEEN_AT}/{name}.yaml" for name in ("config", sampling)]
    return subprocess.run([*run, "validate", *files], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize("sampling", ["keep-all", "tail-sampling"])
def test_the_collector_accepts_its_configuration(sampling: str) -> None:
    """`validate` finds no problem."""
    done = validate(CONFIGURATION, sampling)
    assert done.returncode == 0, done.stderr


def test_the_collector_accepts_the_receiver_of_logs(tmp_path: Path) -> None:
    """`validate` finds no problem in what the comments show."""
    tmp_path.chmod(0o755)
    for path in CONFIGURATION.glob("*.yaml"):
        (tmp_path / path.name).write_text(path.read_text(encoding="utf-8").replace("#: ", ""), encoding="utf-8")
    config = yaml.safe_load((tmp_path / "config.yaml").read_text(encoding="utf-8"))
    assert config["service"]["pipelines"]["logs"]["receivers"] == ["filelog"]
    done = validate(tmp_path, "keep-all")
    if 'unknown type: "filelog"' in done.stderr:
        pytest.skip("this image of the Collector was built without the receiver")
    assert done.returncode == 0, done.stderr


def test_a_broken_configuration_is_rejected(tmp_path: Path) -> None:
    """`validate` names an undefined processor in a pipeline."""
    tmp_path.chmod(0o755)
    for path in CONFIGURATION.glob("*.yaml"):
        text = path.read_text(encoding="utf-8").replace("processors: [memory_limiter", "processors: [no_such_limiter")
        (tmp_path / path.name).write_text(text, encoding="utf-8")
    done = validate(tmp_path, "keep-all")
    assert done.returncode != 0
    assert "no_such_limiter" in done.stderr


@pytest.mark.parametrize("choice", ["keep-all", "tail-sampling"])
def test_sampling_comes_last(choice: str) -> None:
    """Span metrics are computed before sampling, and the memory limiter comes first."""
    config = yaml.safe_load((CONFIGURATION / "config.yaml").read_text(encoding="utf-8"))
    sampling = yaml.safe_load((CONFIGURATION / f"{choice}.yaml").read_text(encoding="utf-8"))
    pipelines = config["service"]["pipelines"]
    assert sampling["service"]["pipelines"].keys() == {"traces/store"}
    assert pipelines["traces"]["exporters"] == ["span_metrics", "forward/store"]
    assert all(pipelines[each]["processors"][0] == "memory_limiter" for each in ("traces", "metrics"))
