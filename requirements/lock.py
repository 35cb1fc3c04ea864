"""Resolve the requirement files again: hash-locked, valid on Python 3.11 to 3.13, without download addresses."""

import subprocess
import sys

COMMON = [
    "--universal", "--python-version", "3.11", "--generate-hashes", "--no-emit-index-url",
    "--no-strip-extras", "--custom-compile-command", "make lock", "--quiet",
]  # fmt: skip
FILES = {
    "requirements/dev.txt": ["pyproject.toml", "--extra", "drift", "--group", "dev"],
    "requirements/drift.txt": [
        "pyproject.toml",
        "--extra",
        "drift",
        "--extra",
        "duckdb",
        "--constraints",
        "requirements/dev.txt",
    ],
    "requirements/service.txt": ["pyproject.toml", "--constraints", "requirements/dev.txt"],
    "requirements/build.txt": ["--group", "pyproject.toml:build", "--constraints", "requirements/dev.txt"],
    "requirements/prefect.txt": ["--group", "pyproject.toml:prefect"],
}

for output, options in FILES.items():
    command = [sys.executable, "-m", "uv", "pip", "compile", *COMMON, *options, "--output-file", output, *sys.argv[1:]]
    subprocess.run(command, check=True)
