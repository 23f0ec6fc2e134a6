"""
`python -m taskflow.worker_pool`: the workers of one version of the code.

taskflow/serving.py starts it, and starts another one to replace it. It loads the application once
and forks the workers, which share its memory and start fast. A worker that ends is started again.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import logging
import os
import select
import signal
import socket
import sys
import time
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import NoReturn

from taskflow.db.session import current_session
from taskflow.front.front import Front
from taskflow.front.worker import CLOSING_SECONDS, run_worker
from taskflow.helper_processes import HelperProcess
from taskflow.http import request_limits
from taskflow.mail.sending import mail_queue

log = logging.getLogger("taskflow.server")
APPLICATION = "taskflow.wsgi"
KILL_TIMEOUT_SECONDS = 10  # for which a stopping worker finishes accepted requests
MAIL_SECONDS = 3.0  # for which a worker that has answered all requests sends mails that wait
# A worker that was started again ends the server when it ends before: the supervisor of the system
# can wait between attempts, and shows that they fail.
CRASH_SECONDS = 5.0
# They check a password. taskflow/front/ answers them one after the other, beside all others.
SIGN_IN_ROUTES = (
    ("POST", "/api/v1/auth/login"),
    ("POST", "/api/v1/auth/register"),
    ("POST", "/api/v1/auth/second-factor"),
    ("POST", "/api/v1/auth/second-factor/confirmation"),
    ("POST", "/api/v1/auth/password-resets/completion"),
    ("POST", "/api/v1/invitations/acceptance"),
    ("POST", "/api/v1/me/password"),
    ("POST", "/api/v1/me/second-factor"),
    ("POST", "/api/v1/me/second-factor/recovery-codes"),
    ("POST", "/api/v1/me/second-factor/removal"),
    ("POST", "/admin/login/"),
    ("POST", "/admin/password-reset/completion/"),
    ("POST", "/admin/password_change/"),
    ("POST", "/admin/invitation/"),
    ("POST", "/admin/account/"),
)
WORKER_NAME = "tf-worker"  # in lists of processes, with the number of the worker behind it
PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # from linux/prctl.h
SIGNALS = (*CLOSING_SECONDS, signal.SIGCHLD)


def load_application() -> None:
    """Import the application and its URLs, so that forked workers share their memory."""
    gc.disable()  # imports create little garbage
    import_module(APPLICATION)
    import_module("taskflow.urls")
    gc.freeze()  # otherwise the collector of each worker would copy shared memory
    gc.enable()


def end_with_parent(parent: int) -> None:
    """Let the kernel end this process when the parent ends, however it ends. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before prctl() was called
        os._exit(1)


def name_process(name: str) -> None:
    """Show this process under a name of at most 15 characters in lists of processes. Linux only."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_NAME, name.encode())


class WorkerPool:
    """Forks one worker for each listening socket, and restarts it when it ends."""

    def __init__(self, listeners: list[socket.socket], ready: int) -> None:
        """`ready` is a pipe that gets a byte from each worker when it accepts connections."""
        self.listeners = listeners
        self.ready = ready
        port = listeners[0].getsockname()[1]
        # Imported late, since it reads the settings.
        self.monitoring = import_module("taskflow.monitoring").Monitoring(len(listeners), port)
        request_limits.workers.count = len(listeners)
        self.numbers: dict[int, int] = {}  # of workers, by process id
        self.started: dict[int, float] = {}  # when a worker was started again, by number
        self.helpers: dict[int, HelperProcess] = {}  # by process id
        self.deadline: float | None = None  # seconds of the monotonic clock, once it stops
        self.is_failed = False
        self.wakeup, self.interrupts = os.pipe()  # gets a byte for each signal

    def run(self) -> int:
        """Return the exit code after a signal, when all workers have ended."""
        for pipe in (self.wakeup, self.interrupts):
            os.set_blocking(pipe, False)
        signal.set_wakeup_fd(self.interrupts)
        for sent in SIGNALS:
            signal.signal(sent, lambda *_: None)  # the pipe gets it
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # taskflow/serving.py handles it
        for number in range(len(self.listeners)):
            self.start(number)
        for helper in self.monitoring.helpers:
            self.start_helper(helper)
        while self.numbers or self.helpers:
            self.wait()
        return int(self.is_failed)

    # ---- workers ----

    def start(self, number: int) -> None:
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)  # until the worker has handlers
        pid = os.fork()
        if pid == 0:
            self.run_worker(number, parent)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self.numbers[pid] = number

    def run_worker(self, number: int, parent: int) -> NoReturn:
        """Be the worker. Called in the forked process."""
        self.become_process(parent)
        name_process(f"{WORKER_NAME}-{number + 1}")
        for other, listener in enumerate(self.listeners):
            if other != number:
                listener.close()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        front = Front(import_module(APPLICATION).application, SIGN_IN_ROUTES)
        self.monitoring.start(front, number + 1)
        import_module("taskflow.commits").watch_commits(front.waits)
        current_session().prepare_server()
        finish = partial(mail_queue.finish, MAIL_SECONDS)
        run_worker(front, self.listeners[number], number + 1, self.report_ready, finish)

    def start_helper(self, helper: HelperProcess, pause: float = 0) -> None:
        """Fork a process beside the workers. It begins after so many seconds."""
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        pid = os.fork()
        if pid == 0:
            self.become_process(parent)
            name_process(helper.name)
            for listener in self.listeners:
                listener.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            time.sleep(pause)
            attach = partial(self.monitoring.attach_helper, helper)
            os._exit(import_module(helper.module).run(attach))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        self.helpers[pid] = helper

    def become_process(self, parent: int) -> None:
        """Leave behind what a forked process has from the pool."""
        signal.set_wakeup_fd(-1)
        for sent in SIGNALS:
            signal.signal(sent, signal.SIG_DFL)
        end_with_parent(parent)
        # Ctrl-C in a terminal signals a whole process group; the pool passes signals on.
        os.setpgrp()
        os.close(self.wakeup)
        os.close(self.interrupts)

    def report_ready(self) -> None:
        with suppress(OSError):  # nobody waits for a worker that is started again
            os.write(self.ready, b".")

    # ---- signals ----

    def wait(self) -> None:
        """Wait for a signal or the deadline, and do what follows from it."""
        timeout = None if self.deadline is None else max(0, self.deadline - time.monotonic())
        select.select([self.wakeup], [], [], timeout)
        with suppress(BlockingIOError):
            for number in os.read(self.wakeup, 1024):
                if number != signal.SIGCHLD:
                    self.stop(signal.Signals(number))
        self.reap()
        if self.deadline is not None and time.monotonic() >= self.deadline:
            self.signal_workers(signal.SIGKILL)
            self.deadline = None

    def stop(self, number: signal.Signals) -> None:
        """Pass the signal on. The supervisor has the sockets, and may give them to new workers."""
        for listener in self.listeners:
            listener.close()
        self.deadline = time.monotonic() + CLOSING_SECONDS[number] + KILL_TIMEOUT_SECONDS
        self.signal_workers(number)

    def signal_workers(self, number: signal.Signals) -> None:
        for pid in (*self.numbers, *self.helpers):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def reap(self) -> None:
        """Start the workers again that have ended, unless the pool stops."""
        while self.numbers or self.helpers:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            if pid in self.helpers:
                self.restart_helper(self.helpers.pop(pid), os.waitstatus_to_exitcode(status))
                continue
            number = self.numbers.pop(pid)
            if self.listeners[number].fileno() != -1:
                self.restart(number, os.waitstatus_to_exitcode(status))

    def restart_helper(self, helper: HelperProcess, code: int) -> None:
        """Start it again, unless the pool stops. The workers go on whatever happens to it."""
        if self.deadline is None:
            log.error(
                "the process that %s ended with %s and is started again", helper.purpose, code
            )
            self.start_helper(helper, CRASH_SECONDS)

    def restart(self, number: int, code: int) -> None:
        now = time.monotonic()
        if now - self.started.get(number, float("-inf")) < CRASH_SECONDS:
            log.error("worker %s ended with %s again. The server ends.", number + 1, code)
            self.is_failed = True
            self.stop(signal.SIGTERM)
            return
        log.error("worker %s ended with %s and is started again", number + 1, code)
        self.started[number] = now
        self.start(number)


def main() -> None:
    parser = argparse.ArgumentParser("python -m taskflow.worker_pool")
    parser.add_argument("parent", type=int, help="process id of the supervisor")
    parser.add_argument("ready", type=int, help="file descriptor that gets a byte for each worker")
    parser.add_argument("sockets", type=int, nargs="+", help="file descriptors to listen on")
    options = parser.parse_args()
    end_with_parent(options.parent)
    for descriptor in (options.ready, *options.sockets):
        os.set_inheritable(descriptor, False)
    load_application()
    listeners = [socket.socket(fileno=descriptor) for descriptor in options.sockets]
    sys.exit(WorkerPool(listeners, options.ready).run())


if __name__ == "__main__":
    main()
