"""The systemd unit: its syntax, its exposure, and whether Python runs under its restrictions."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import time
from pathlib import Path

from taskflow.tests.server import ROOT, clean_environment, free_port, stop

UNIT = ROOT / "docs/deploy/taskflow.service"
DAILY = [ROOT / "docs/deploy/taskflow-daily.service", ROOT / "docs/deploy/taskflow-daily.timer"]
LINKED = "/srv/taskflow/current"
MAX_EXPOSURE = 20  # tenths, as `systemd-analyze security` prints them
# From linux/prctl.h.
PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS, PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 24, 38, 65, 1


def check(directory: Path, *, serves: bool) -> str:
    """Return what was tried. With `serves`, a server runs under the restrictions."""
    outcome = check_syntax(directory)
    return f"{outcome}; {check_restrictions(directory)}" if serves else outcome


def check_syntax(directory: Path) -> str:
    if not shutil.which("systemd-analyze"):
        return "systemd-analyze is missing"
    unit = directory / UNIT.name
    python = Path(sys.executable).resolve()  # `verify` wants the program to exist
    units = [directory / path.name for path in (UNIT, *DAILY)]
    for path, copy in zip((UNIT, *DAILY), units, strict=True):
        copy.write_text(path.read_text().replace(f"{LINKED}/.venv/bin/python", str(python)))
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *map(str, units)], capture_output=True, text=True
    )
    assert (verified.returncode, verified.stderr) == (0, ""), verified.stderr
    analyzed = [f"--threshold={MAX_EXPOSURE}", "--offline=yes", str(unit)]
    security = subprocess.run(
        ["systemd-analyze", "security", *analyzed], capture_output=True, text=True
    )
    assert security.returncode == 0, security.stdout[-300:]
    return "verified, and " + security.stdout.strip().splitlines()[-1].strip("→ 🙂")


def check_restrictions(directory: Path) -> str:
    """Serve as the unit restricts it, as far as a process can restrict itself."""
    port, log = free_port(), directory / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-B", "manage.py", "serve", "--port", str(port)],
            cwd=ROOT, env=clean_environment(directory / "data"), stdout=out, stderr=out,
            preexec_fn=restrict,
        )  # fmt: skip
    while "TaskFlow is on" not in log.read_text():
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    restrictions = Path(f"/proc/{process.pid}/status").read_text()
    assert "CapEff:\t0000000000000000" in restrictions
    assert "NoNewPrivs:\t1" in restrictions
    stop(process)
    return "served without capabilities and without memory that is writable and executable"


def restrict() -> None:
    """Called in the new process. Kernels before 6.3 do not have PR_SET_MDWE."""
    prctl = ctypes.CDLL(None).prctl
    for capability in range(64):
        prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0)
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
