"""
`python -m taskflow.serving HOST PORT WORKERS`: what `manage.py serve` becomes.

Loads the application and forks workers that share its memory; they start at once.
"""

from __future__ import annotations

import gc
import multiprocessing
import sys
from importlib import import_module

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from taskflow.bodies import BLOCKING_THREADS

APPLICATION = "taskflow.wsgi"


def load() -> None:
    gc.disable()  # importing makes hardly any garbage
    import_module(APPLICATION)
    import_module("taskflow.urls")
    gc.freeze()  # a collector that visits what is shared would copy it into every worker
    gc.enable()


def serve(host: str, port: int, workers: int) -> None:
    """Each request has a line in our own log, so granian's is off."""
    if sys.platform == "linux":
        multiprocessing.set_start_method("fork")  # as it is before Python 3.14
        load()
    Granian(
        f"{APPLICATION}:application",
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        # In HTTP/2 a body may come without a length: WSGI applications would not see it.
        http=HTTPModes.http1,
        workers=workers,
        blocking_threads=BLOCKING_THREADS,
        backpressure=1024,  # the default would refuse what the threads can still queue
        workers_kill_timeout=10,  # seconds
        respawn_failed_workers=True,
        log_level=LogLevels.warning,
        websockets=False,
    ).serve()


if __name__ == "__main__":
    serve(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
