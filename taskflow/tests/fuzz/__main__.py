"""
Sends generated requests to the API on both databases: `make fuzz`.

FUZZ_CASES is the number of requests for each database, 50,000 by default, and FUZZ_SEED selects
them. schemathesis needs many packages, so it has an environment of its own, which also finds the
packages of .venv.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from taskflow.tests.generated_client.environments import add_own_packages, install
from taskflow.tests.server import ROOT

REQUIREMENTS = Path(__file__).parent / "requirements.txt"
ENVIRONMENT = ROOT / "var" / "contract" / "fuzz"
PYTHON = ENVIRONMENT / "bin" / "python"
PYTEST = [PYTHON, "-m", "pytest", "-q", "-s", Path(__file__).parent / "fuzz.py"]
POSTGRES = [PYTHON, "-W", "ignore::RuntimeWarning", "-m", "taskflow.tests.postgres"]


def main() -> None:
    install("schemathesis", ENVIRONMENT, REQUIREMENTS, "--require-hashes")
    add_own_packages(PYTHON)
    environment = os.environ | {"TASKFLOW_DEBUG": "0"}
    on_sqlite = {name: value for name, value in environment.items() if name != "DATABASE_URL"}
    print("SQLite:", flush=True)
    is_ok = run([*PYTEST], on_sqlite)
    print("PostgreSQL:", flush=True)
    is_ok &= run([*POSTGRES, *PYTEST], environment)
    sys.exit(not is_ok)


def run(command: list[str | Path], environment: dict[str, str]) -> bool:
    return subprocess.run(command, cwd=ROOT, env=environment, check=False).returncode == 0


if __name__ == "__main__":
    main()
