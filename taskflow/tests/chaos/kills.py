"""Kill -9 of the whole server and of single workers, while clients write."""

from __future__ import annotations

import os
import random
import signal
import time

from taskflow.tests.chaos.installation import Installation, wait_until
from taskflow.tests.chaos.ledger import Ledger, writing
from taskflow.tests.chaos.report import Report
from taskflow.tests.chaos.scale import Scale

WRITERS = 6
RESPAWN_SECONDS = 5.0  # after which a killed worker must have been replaced
# granian ends the server if a worker ends within 5.5 seconds of its start: a loop of crashes.
CRASH_LOOP_SECONDS = 6.0


def kill_server(installation: Installation, report: Report, scale: Scale) -> None:
    """Kill all processes of the server again and again, and start it anew."""
    starts = []
    with writing(installation, WRITERS) as ledger:
        for _ in range(scale.kill_rounds):
            pause_about(scale.round_seconds)
            installation.kill()
            started = time.monotonic()
            installation.start()
            starts.append(time.monotonic() - started)
        pause_about(scale.round_seconds)
    fault = f"kill -9 of the server, {scale.kill_rounds} times"
    report_ledger(report, fault, installation, ledger)
    report.add(
        fault,
        installation.database.name,
        "it answers again after a start",
        f"after at most {max(starts):.1f} s",
        is_kept=True,
    )


def kill_workers(installation: Installation, report: Report, scale: Scale) -> None:
    """Kill one worker after the other. The server has to replace each."""
    replaced = []
    with writing(installation, WRITERS) as ledger:
        for _ in range(scale.worker_kills):
            time.sleep(CRASH_LOOP_SECONDS * random.uniform(1, 1.5))
            killed = random.choice(installation.worker_ids())
            os.kill(killed, signal.SIGKILL)
            replaced.append(
                wait_until(lambda k=killed: is_replaced(installation, k), RESPAWN_SECONDS)
            )
        pause_about(scale.round_seconds)
    fault = f"kill -9 of one of {installation.workers} workers, {scale.worker_kills} times"
    report_ledger(report, fault, installation, ledger)
    times = [seconds for seconds in replaced if seconds is not None]
    figure = f"after at most {max(times):.1f} s" if len(times) == len(replaced) else "not replaced"
    report.add(
        fault,
        installation.database.name,
        f"a new worker within {RESPAWN_SECONDS:.0f} s",
        figure,
        is_kept=len(times) == len(replaced),
    )


def crash_again_and_again(installation: Installation, report: Report, scale: Scale) -> None:
    """Kill a worker, and the worker that replaces it at once, as a crash at the start does."""
    for _ in range(2):
        workers = installation.worker_ids()
        if not workers:
            break  # the server has ended: an earlier fault has killed the same worker before
        started = workers[-1]
        os.kill(started, signal.SIGKILL)
        wait_until(lambda k=started: has_ended_or_replaced(installation, k), RESPAWN_SECONDS)
    code = wait_for_exit(installation)
    report.add(
        "kill -9 of a worker and of its successor",
        installation.database.name,
        "the server goes on, or ends with an error, so that it is started again",
        "it goes on" if code is None else f"it ended with exit code {code}",
        is_kept=code != 0,
    )
    if code is not None:
        installation.start()


def has_ended_or_replaced(installation: Installation, killed: int) -> bool:
    return installation.process.poll() is not None or is_replaced(installation, killed)


def wait_for_exit(installation: Installation) -> int | None:
    wait_until(lambda: installation.process.poll() is not None, RESPAWN_SECONDS)
    return installation.process.poll()


def is_replaced(installation: Installation, killed: int) -> bool:
    workers = installation.worker_ids()
    return killed not in workers and len(workers) == installation.workers


def pause_about(seconds: float) -> None:
    """Wait for 0.5 to 1.5 times as long, so that a kill hits any moment of a request."""
    time.sleep(seconds * random.uniform(0.5, 1.5))


def report_ledger(report: Report, fault: str, installation: Installation, ledger: Ledger) -> None:
    """Compare what was acknowledged with what is stored, and the rows with their events."""
    name = installation.database.name
    wrong = ledger.compare(installation.database)
    figure = ", ".join(f"{n} {kind}" for kind, n in wrong.items())
    report.add(
        fault,
        name,
        "acknowledged writes are stored once and whole",
        f"{ledger.acknowledged:,} acknowledged: {figure}",
        is_kept=not any(wrong.values()) and ledger.acknowledged > 0,
    )
    report.add(
        fault,
        name,
        "other answers are 503 or 507, or none",
        describe_failures(ledger),
        is_kept=not ledger.failed,
    )
    sentence = installation.verify()
    report.add(
        fault,
        name,
        "`manage.py verify` finds no difference",
        sentence,
        is_kept=sentence == "All values are right.",
    )


def describe_failures(ledger: Ledger) -> str:
    others = {s: n for s, n in ledger.statuses.items() if s[0] != "2"}
    return ", ".join(f"{n} × {status}" for status, n in sorted(others.items())) or "all succeeded"
