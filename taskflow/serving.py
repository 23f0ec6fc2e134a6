"""
`python -m taskflow.serving HOST PORT WORKERS`: the server that `manage.py serve` starts.

It loads the application once and forks the workers, which share its memory and start fast.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection, HTTPException
from importlib import import_module
from typing import Any

from granian import Granian
from granian.constants import Interfaces
from granian.log import LogLevels

from taskflow.db.session import current_session
from taskflow.front.front import Front
from taskflow.front.worker import run_worker

APPLICATION = "taskflow.wsgi"
KILL_TIMEOUT_SECONDS = 10  # for which a stopping worker finishes accepted requests
# They check a password. taskflow/front/ answers them one after the other, beside all others.
SIGN_IN_ROUTES = (
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/register"),
    ("POST", "/api/v1/me/password"),
    ("POST", "/admin/login/"),
    ("POST", "/admin/password_change/"),
)
PR_SET_PDEATHSIG = 1  # from linux/prctl.h


def load_application() -> None:
    """Import the application and its URLs, so that forked workers share their memory."""
    gc.disable()  # imports create little garbage
    import_module(APPLICATION)
    import_module("taskflow.urls")
    gc.freeze()  # otherwise the collector of each worker would copy shared memory
    gc.enable()


def serve(host: str, port: int, workers: int, greeting: str) -> None:
    """Serve until a signal ends the process. Print the greeting when the port answers.

    Granian's own log of requests is off: each request has a line in TaskFlow's log.
    """
    if sys.platform == "linux":
        multiprocessing.set_start_method("fork")  # as it is before Python 3.14
        load_application()
        prepare_workers()
    else:
        load_application()
    monitoring = import_module("taskflow.monitoring").Monitoring(workers, port)
    server = Granian(
        f"{APPLICATION}:application",
        address=host,
        port=port,
        interface=Interfaces.RSGI,
        workers=workers,
        workers_kill_timeout=KILL_TIMEOUT_SECONDS,
        respawn_failed_workers=True,
        log_level=LogLevels.warning,
    )
    greeter = threading.Thread(target=print_when_ready, args=(server, greeting), daemon=True)
    server.on_startup(greeter.start)
    server.serve(spawn_target=partial(start_worker, host, port, monitoring))


# ---- workers ------------------------------------------------------------------------------------


def start_worker(
    host: str,
    port: int,
    monitoring: Any,
    worker_id: int,
    _name: object,
    load: Callable[[], Any],
    *_: object,
) -> None:
    """Run a worker. The other arguments are granian's settings, which taskflow/front/ replaces."""
    front = Front(load(), SIGN_IN_ROUTES)
    monitoring.start(front, worker_id)
    current_session().watch_answers()
    run_worker(front, host, port, worker_id)


def prepare_workers() -> None:
    """Make each forked process end when this process ends, and soon after SIGTERM."""
    prctl = ctypes.CDLL(None).prctl
    parent = os.getpid()

    def start_worker() -> None:
        # Ctrl-C in a terminal signals the whole process group. A worker that gets the signal from
        # the terminal and from its parent does not stop before KILL_TIMEOUT_SECONDS.
        os.setpgrp()
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # the parent ended before prctl() was called
            os._exit(1)

    os.register_at_fork(after_in_child=start_worker)


# ---- the greeting -------------------------------------------------------------------------------


def print_when_ready(server: Any, greeting: str) -> None:
    """Print the greeting once the port of granian's server answers.

    This runs in a thread. A lock that it holds during a fork would stay locked in the worker, so
    it takes no lock before all workers are forked.
    """
    while len(server.wrks) < server.workers:
        time.sleep(0.01)
    while not is_answering(server.bind_addr, server.bind_port):
        time.sleep(0.05)
    print(greeting, flush=True)  # noqa: T201 - for the person who started the server


def is_answering(host: str, port: int) -> bool:
    """Return whether GET /livez succeeds."""
    connection = HTTPConnection(host, port, timeout=5)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def main() -> None:
    parser = argparse.ArgumentParser("python -m taskflow.serving")
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("workers", type=int)
    parser.add_argument(
        "--greeting",
        metavar="FILE DESCRIPTOR",
        type=int,
        help="from which the greeting is read; it may contain a token",
    )
    options = parser.parse_args()
    greeting = f"TaskFlow is on http://{options.host}:{options.port}"
    if options.greeting is not None:
        with os.fdopen(options.greeting) as file:
            greeting = file.read()
    serve(options.host, options.port, options.workers, greeting)


if __name__ == "__main__":
    main()
