"""The process that runs timed tasks: a part of the server, or `manage.py run_scheduled`."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

from taskflow.mail.sending import mail_queue
from tasks.scheduled.registry import TIMED_TASKS
from tasks.scheduled.runner import Scheduler

log = logging.getLogger("taskflow.scheduled")
STOPPED_BY = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # the last: others have taken over
MAIL_SECONDS = 3.0  # for which mails that wait are sent at the end


def run(prepare: Callable[[], object] = lambda: None) -> int:
    """Run timed tasks until a signal ends it. Return the exit code. `prepare` is called first."""
    scheduler = Scheduler(TIMED_TASKS)
    for number in STOPPED_BY:
        signal.signal(number, lambda *_: scheduler.stop())
    prepare()
    try:
        scheduler.run()
    except Exception:  # the supervisor starts it again
        log.exception("the process that runs timed tasks failed")
        return 1
    mail_queue.finish(MAIL_SECONDS)
    return 0
