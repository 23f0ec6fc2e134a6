"""
A worker process: granian's event loop for connections, and the front for requests.

granian offers two ways to run an application. Under WSGI a thread waits for each body and nothing
ends that wait. Under RSGI bodies arrive without a thread, but each request is then passed from
granian's thread to Python's event loop, from there to a thread, and back: 50 to 80 µs, which is a
tenth of a request. So the worker is RSGI's, but its requests are passed on by the thread that
brings them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn

from granian._granian import CallbackScheduler, RSGIWorker, SocketHolder, WorkerSignal
from granian.http import HTTP1Settings

from taskflow.front.freezes import FreezeMonitor
from taskflow.front.front import Front
from taskflow.front.limits import (
    BACKLOG,
    BODY_GRACE_SECONDS,
    HEAD_SECONDS,
    LINGER_SECONDS,
    MAX_CONNECTIONS,
    OTHER_FILES,
    SPARE_THREADS,
    TEND_SECONDS,
    WORK_SLOTS,
)
from taskflow.front.listening import stop_accepting

log = logging.getLogger("taskflow.front")
IDLE_THREAD_SECONDS = 600  # after which granian ends a thread, and its database connection
SERVER_THREADS = 1  # of granian, for all connections
FILE_THREADS = 4  # of granian, which read files that are sent
NO_TLS: tuple[object, ...] = (False, None, None, None, "tls1.3", None, [], False)
NO_METRICS = (None, None)
# For which connections stay open for a next request, whose response closes them. A client that has
# just sent one on a connection that is closed does not learn whether it was carried out.
CLOSING_SECONDS = {
    signal.SIGINT: 0.0,  # from the keyboard
    signal.SIGTERM: BODY_GRACE_SECONDS,
    signal.SIGUSR1: HEAD_SECONDS + 1.0,  # other workers have taken over, so there is time
}


class DirectLoop:
    """What granian takes for Python's event loop: runs its callbacks in the thread that calls."""

    def call_soon_threadsafe(
        self, callback: Callable[..., object], *args: object, context: object = None
    ) -> None:
        callback(*args)

    call_soon = call_soon_threadsafe


def run_worker(
    front: Front,
    listener: socket.socket,
    worker_id: int,
    on_ready: Callable[[], object],
    on_end: Callable[[], object] = lambda: None,
) -> NoReturn:
    """Serve until a signal ends the process. `on_ready` is called when it accepts connections, and
    `on_end` when it has answered all requests.

    SIGTERM and SIGINT end it soon. After SIGUSR1, other workers have taken over: it also waits for
    the next request of the connections that it has.
    """
    stop = WorkerSignal()
    worker = RSGIWorker(
        worker_id,
        (None, SocketHolder(listener.fileno(), False, BACKLOG)),
        None,
        SERVER_THREADS,
        FILE_THREADS,
        WORK_SLOTS + SPARE_THREADS,
        IDLE_THREAD_SECONDS,
        allow_connections(),
        "1",  # HTTP/2 allows bodies without a length, which WSGI applications cannot read.
        HTTP1Settings(header_read_timeout=HEAD_SECONDS * 1000),
        None,
        False,  # no websockets
        None,  # no static files
        *NO_TLS,
        NO_METRICS,
    )
    direct = DirectLoop()
    scheduler = CallbackScheduler(direct, None, None, None, None)
    scheduler._schedule_fn = front.receive
    worker.serve_mtr(scheduler, direct, stop)
    on_ready()
    asyncio.run(tend_until_stopped(front, listener, stop))
    on_end()
    os._exit(0)  # granian's threads would fail when Python removes what they use


def allow_connections() -> int:
    """Raise the limit of open files as far as needed. Return how many connections it allows.

    granian cannot accept a connection without a free file.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MAX_CONNECTIONS + OTHER_FILES
    if soft == resource.RLIM_INFINITY:
        return MAX_CONNECTIONS
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(MAX_CONNECTIONS, soft - OTHER_FILES))


async def tend_until_stopped(front: Front, listener: socket.socket, stop: WorkerSignal) -> None:
    """Tend the front until all connections have ended after a signal."""
    loop = asyncio.get_running_loop()
    has_ended = asyncio.Event()
    stop.add_cb(lambda: loop.call_soon_threadsafe(has_ended.set))
    signals = receive_signals(loop)
    tending = asyncio.create_task(tend(front))
    number = await signals.get()
    front.stop()
    stop_accepting(listener)
    front.is_closing = True  # clients send their next request on a new connection
    front.waits.stop()
    with suppress(TimeoutError):  # another signal ends the wait
        await asyncio.wait_for(signals.get(), CLOSING_SECONDS[number])
    front.unread.stop()
    stop.set()  # ends the connections without a request
    ending = asyncio.create_task(end_when_idle(front))
    await has_ended.wait()
    tending.cancel()
    ending.cancel()


def receive_signals(loop: asyncio.AbstractEventLoop) -> asyncio.Queue[signal.Signals]:
    """Return a queue that gets each signal of CLOSING_SECONDS."""
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in CLOSING_SECONDS:
        loop.add_signal_handler(number, signals.put_nowait, number)
    return signals


async def tend(front: Front) -> None:
    monitor = FreezeMonitor()
    while True:
        await asyncio.sleep(TEND_SECONDS)
        try:
            monitor.check(TEND_SECONDS)
            front.tend()
        except Exception:  # the next requests need their deadlines all the same
            log.exception("the deadlines of requests could not be checked")


async def end_when_idle(front: Front) -> None:
    """End the process soon after the last accepted request is answered.

    granian would also wait for incomplete requests and for clients that do not read.
    """
    front.bodies.give_up()
    while not front.is_idle:
        await asyncio.sleep(TEND_SECONDS)
    await asyncio.sleep(LINGER_SECONDS)
    os._exit(0)
