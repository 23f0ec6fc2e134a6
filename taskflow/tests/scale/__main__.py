"""
Measure TaskFlow with many tenants, with a standby that takes over, and behind PgBouncer.

    python -m taskflow.tests.scale [PART …]

`make scale` runs it. Raises AssertionError if a promise is not kept.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable

from taskflow.tests import pooler
from taskflow.tests.scale.failover import fail_over
from taskflow.tests.scale.many_tenants import measure_many_tenants


def use_pgbouncer() -> list[str]:
    """Serve through PgBouncer, which prints its lines itself."""
    if shutil.which("pgbouncer") is None:
        return ["PgBouncer is not installed, so this was left out"]
    pooler.main()
    return []


PARTS: dict[str, Callable[[], list[str]]] = {
    "failover": fail_over,
    "pgbouncer": use_pgbouncer,
    "tenants": measure_many_tenants,
}


def main() -> int:
    parser = argparse.ArgumentParser("python -m taskflow.tests.scale")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(unknown)}")
    for name in options.parts or PARTS:
        print(f"{name}:", flush=True)
        for line in PARTS[name]():
            print(f"- {line}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
