"""Where `promtool` and `amtool` are: on the path, or in an image that is already here. Nothing is pulled for a test."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

IMAGES: Final = {"promtool": "prom/prometheus:v3.16.0", "amtool": "prom/alertmanager:v0.31.1"}
ENOUGH_S: Final = 240


@functools.cache
def command(tool: str, folder: Path) -> tuple[str, ...]:
    """How to call `tool` on files of `folder`, which it sees under the same path. Empty where there is none."""
    if found := shutil.which(tool):
        return (found,)
    docker = shutil.which("docker")
    if docker is None:
        return ()
    image = IMAGES[tool]
    inspected = subprocess.run([docker, "image", "inspect", image], capture_output=True, check=False, timeout=30)
    if inspected.returncode != 0:
        return ()
    user = f"--user={os.getuid()}:{os.getgid()}"  # the image's own may not read a test's private folder
    mount = f"--volume={folder}:{folder}:ro"
    return (docker, "run", "--rm", "--network=none", user, mount, f"--entrypoint={tool}", image)


def run_tool(tool: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `tool` with `arguments`; skip the test where it is nowhere. `folder` holds whatever the arguments name."""
    called = command(tool, folder.resolve())
    if not called:
        pytest.skip(f"{tool} is not on the path, and the image {IMAGES[tool]} is not here")
    return subprocess.run([*called, *arguments], capture_output=True, text=True, check=False, timeout=ENOUGH_S)
