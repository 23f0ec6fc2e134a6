"""The modules of the benchmark can be started. What they measure is not tested."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("module", ["bench", "claims", "growth", "sqlite"])
def test_benchmark_module_prints_its_help(module):
    # pytest-django sets this variable. `make bench` does not.
    environment = {n: v for n, v in os.environ.items() if n != "DJANGO_SETTINGS_MODULE"}
    command = [sys.executable, "-W", "ignore", "-m", f"benchmarks.{module}", "--help"]

    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)

    assert run.returncode == 0, run.stderr
    assert f"benchmarks.{module}" in run.stdout
