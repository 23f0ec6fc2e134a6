"""
Works with the admin as people do, in Chromium: `make test-browser`.

playwright drives Debian's Chromium. It has an environment of its own, which also finds the packages
of .venv. The modules `check_*.py` beside this one are the tests; since their names do not begin
with `test_`, the other runs do not collect them. Pictures of what was seen are kept in var/browser/.
Arguments are passed to pytest, such as `-k publish`.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from taskflow.tests.browser.chromium import find_chromium
from taskflow.tests.generated_client.environments import add_own_packages, install
from taskflow.tests.server import ROOT

HERE = Path(__file__).parent
ENVIRONMENT = ROOT / "var" / "contract" / "browser"
PLUGIN = "taskflow.tests.browser.plugin"


def main() -> None:
    if find_chromium() is None:
        sys.exit("Chromium was not found. On Debian: apt install chromium")
    install("playwright", ENVIRONMENT, HERE / "requirements.txt", "--require-hashes")
    python = ENVIRONMENT / "bin" / "python"
    add_own_packages(python)
    command = [python, "-m", "pytest", "-p", PLUGIN, *sorted(HERE.glob("check_*.py"))]
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment["TASKFLOW_DEBUG"] = "0"
    done = subprocess.run([*command, *sys.argv[1:]], cwd=ROOT, env=environment, check=False)
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
