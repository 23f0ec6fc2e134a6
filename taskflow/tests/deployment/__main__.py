"""
`python -m taskflow.tests.deployment [--short]`: try the files of docs/deploy/.

Prints what was tried, and what was not because a program is missing. Exits with 1 after a failure.
--short leaves out the container, the wheel, the restrictions of the unit, and a restart behind the proxies.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from taskflow.tests.deployment import container, proxies, unit, wheel

Check = Callable[[Path], str]


def run(name: str, check: Check) -> bool:
    """Run one check, print its outcome, and return whether it has not failed."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="tfdeploy") as directory:
        Path(directory).chmod(0o755)
        try:
            outcome = check(Path(directory))
        except Exception:
            traceback.print_exc()
            outcome = "FAILED"
    print(f"{name}: {outcome} ({time.monotonic() - started:.0f} s)", flush=True)
    return outcome != "FAILED"


def main() -> None:
    parser = argparse.ArgumentParser("python -m taskflow.tests.deployment")
    parser.add_argument("--short", action="store_true")
    is_short = parser.parse_args().short
    checks: dict[str, Check] = {
        "systemd unit": lambda directory: unit.check(directory, serves=not is_short),
        "nginx and Caddy": lambda directory: proxies.check(directory, restarts=not is_short),
    }
    if not is_short:
        checks["Containerfile"] = container.check
        checks["wheel"] = wheel.check
    outcomes = [run(name, check) for name, check in checks.items()]
    print(f"{outcomes.count(True)} passed, {outcomes.count(False)} failed")
    sys.exit(not all(outcomes))


if __name__ == "__main__":
    main()
