"""The process that sends webhooks: a part of the server, or `manage.py deliver`."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

from taskflow.audit.commits.polling import read_position
from taskflow.commits import choose_watcher
from tasks.webhooks.deliverer import Deliverer

log = logging.getLogger("taskflow.webhooks")
STOPPED_BY = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)  # the last: others have taken over


def run(prepare: Callable[[], object] = lambda: None) -> int:
    """Deliver until a signal ends it. Return the exit code. `prepare` is called first."""
    deliverer = Deliverer()
    waiter = deliverer.use_watcher()
    watcher = choose_watcher()(waiter, read_position)
    waiter.on_begin = watcher.notice_wait
    for number in STOPPED_BY:
        signal.signal(number, lambda *_: deliverer.stop())
    prepare()
    watcher.start()  # a daemon, which ends with the process
    try:
        deliverer.run()
    except Exception:  # the supervisor starts it again
        log.exception("the process that sends webhooks failed")
        return 1
    return 0
