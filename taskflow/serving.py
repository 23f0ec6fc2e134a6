"""
`python -m taskflow.serving HOST PORT WORKERS`: the server that `manage.py serve` starts.

It listens, and starts a pool of workers (taskflow/worker_pool.py). On SIGHUP it starts another
pool, which loads the code and the packages anew, and ends the former one when the new workers
accept connections. No connection is refused meanwhile. This process itself loads neither the
application nor Django, and keeps its process id.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import socket
import sys
from collections.abc import Awaitable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TypeVar

from taskflow.front.listening import listen
from taskflow.logging import JsonFormatter
from taskflow.service_manager import ServiceManager
from taskflow.tracing_agent import find_agent

log = logging.getLogger("taskflow.server")
Result = TypeVar("Result")
# Not resolved: where this is a symbolic link to a release, a new pool loads the release that it
# points to then.
CODE = Path(__file__).parents[1]
START_SECONDS = 120  # after which a pool whose workers do not accept connections is given up
# After which a pool is killed that should have ended: its own limits are shorter.
END_SECONDS = 40


class PoolFailed(Exception):
    """A pool of workers has not started, or has ended."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code  # exit code of the server


class Server:
    """Runs one pool of workers, and replaces it by another one."""

    def __init__(self, listeners: list[socket.socket], greeting: str, *, migrates: bool) -> None:
        self.listeners = listeners
        self.greeting = greeting
        self.migrates = migrates
        self.manager = ServiceManager()
        self.has_terminal = os.isatty(0)
        self.stop_signal = signal.SIGTERM
        self.stopping, self.reloading = asyncio.Event(), asyncio.Event()
        self.pools: set[asyncio.subprocess.Process] = set()  # that have not ended
        self.current: asyncio.subprocess.Process | None = None  # answers requests

    async def run(self) -> int:
        """Serve until a signal. Return the exit code."""
        self.handle_signals()
        serving = asyncio.create_task(self.serve())
        stopping = asyncio.create_task(self.stopping.wait())
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        code = 0
        if not stopping.done():
            code = self.report_failure(serving.exception())
        self.manager.report_stopping()
        serving.cancel()
        await self.end_all()
        return code

    def report_failure(self, error: BaseException | None) -> int:
        """Write why the server ends, and return its exit code."""
        if not isinstance(error, PoolFailed):
            log.error("the server failed", exc_info=error)
            return 1
        if self.current is not None:  # otherwise the pool has written why it could not start
            log.error("%s", error)
        return error.code

    # ---- signals ----

    def handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.request_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self.handle_hangup)

    def request_stop(self, number: signal.Signals) -> None:
        self.stop_signal = number
        self.stopping.set()

    def handle_hangup(self) -> None:
        """Load the code anew, or stop: the same signal says that the terminal was closed."""
        if self.has_terminal and not os.isatty(0):
            self.request_stop(signal.SIGTERM)
        else:
            self.reloading.set()

    # ---- pools ----

    async def serve(self) -> None:
        """Start workers and replace them at each request. Raises PoolFailed when they end."""
        self.current = await self.start_pool()
        print(self.greeting, flush=True)  # noqa: T201 - for the person who started the server
        self.manager.report_ready("The workers answer.")
        keeping_alive = asyncio.create_task(self.keep_alive())
        try:
            while True:
                await self.until_reload()
                self.reloading.clear()
                self.manager.report_reloading()
                self.manager.report_ready(await self.replace_pool())
        finally:
            keeping_alive.cancel()

    async def until_reload(self) -> None:
        """Wait until new workers are requested. Raises PoolFailed when the current ones end."""
        assert self.current is not None
        ended = asyncio.create_task(self.current.wait())
        reloading = asyncio.create_task(self.reloading.wait())
        try:
            await asyncio.wait({ended, reloading}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise PoolFailed(f"The workers ended with {ended.result()}.")
        finally:
            ended.cancel()
            reloading.cancel()

    async def replace_pool(self) -> str:
        """Start new workers and end the former ones. If that fails, they go on. Return what is."""
        former = self.current
        assert former is not None
        try:
            await self.prepare_database()
            self.current = await self.start_pool()
        except PoolFailed as error:
            log.error("The former workers go on. %s", error)
            return f"The former workers go on. {error}"
        log.info("New workers answer, and the former ones end.")
        signal_process(former, signal.SIGUSR1)
        return "New workers answer."

    async def prepare_database(self) -> None:
        """Apply the migrations of the new code, or check that none is missing."""
        option = [] if self.migrates else ["--check"]
        command = ["migrate", "--verbosity", "0", *option]
        module = ["-P", "-m", "taskflow.command_line"]
        process = await asyncio.create_subprocess_exec(
            sys.executable, *module, *command, env=environment()
        )
        if code := await wait_or_end(process, process.wait()):
            raise PoolFailed(f"`manage.py {' '.join(command)}` ended with {code}.")

    async def start_pool(self) -> asyncio.subprocess.Process:
        """Return a pool whose workers accept connections. Raises PoolFailed."""
        reader, writer = os.pipe()
        sockets = [listener.fileno() for listener in self.listeners]
        arguments = [str(number) for number in (os.getpid(), writer, *sockets)]
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-P", "-m", "taskflow.worker_pool", *arguments,
                env=environment(), pass_fds=(writer, *sockets), process_group=0,
            )  # fmt: skip
        finally:
            os.close(writer)
        self.watch(process)
        await self.until_ready(process, reader)
        return process

    async def until_ready(self, process: asyncio.subprocess.Process, reader: int) -> None:
        """Wait for a byte of each worker. Raises PoolFailed."""
        reports = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reports), os.fdopen(reader, "rb", buffering=0)
        )
        try:
            async with asyncio.timeout(START_SECONDS):
                await wait_or_end(process, reports.readexactly(len(self.listeners)))
        except TimeoutError:
            log.error("The workers did not start within %s seconds.", START_SECONDS)
            raise PoolFailed("The workers could not be started.") from None
        except asyncio.IncompleteReadError:
            code = await process.wait()
            message = f"The workers could not be started: exit code {code}."
            raise PoolFailed(message, max(code, 1)) from None
        finally:
            transport.close()

    def watch(self, process: asyncio.subprocess.Process) -> None:
        """List the pool until it ends."""
        self.pools.add(process)
        waiting = asyncio.ensure_future(process.wait())
        waiting.add_done_callback(lambda _: self.pools.discard(process))

    async def end_all(self) -> None:
        """Take no more connections, and wait until all accepted requests are answered."""
        for listener in self.listeners:
            listener.close()
        pools = tuple(self.pools)
        for pool in pools:
            signal_process(pool, self.stop_signal if pool is self.current else signal.SIGTERM)
        with suppress(TimeoutError):
            async with asyncio.timeout(END_SECONDS):
                await asyncio.gather(*(pool.wait() for pool in pools))
        for pool in pools:
            signal_process(pool, signal.SIGKILL)

    # ---- the watchdog of the service manager ----

    async def keep_alive(self) -> None:
        """Report that the server is alive, while it answers."""
        interval = self.manager.watchdog_seconds / 3
        host, port = self.listeners[0].getsockname()[:2]
        while interval:
            if await asyncio.to_thread(is_answering, host, port, interval):
                self.manager.report_alive()
            await asyncio.sleep(interval)


async def wait_or_end(process: asyncio.subprocess.Process, waiting: Awaitable[Result]) -> Result:
    """Return what is awaited. End the process if that fails or is cancelled."""
    try:
        return await waiting
    except BaseException:
        signal_process(process, signal.SIGTERM)
        raise


def signal_process(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to a process, unless it has ended.

    Not with process.send_signal(): that would collect the exit code of a process that has just
    ended, and process.wait() would return 255 (https://github.com/python/cpython/issues/87744).
    """
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def environment() -> dict[str, str]:
    """Return the environment of a process that loads this code, from whichever folder."""
    paths = [*find_agent(), str(CODE), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(dict.fromkeys(paths))}


def is_answering(host: str, port: int, seconds: float = 5) -> bool:
    """Return whether GET /livez succeeds within that time."""
    connection = HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", "/livez")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def write_log() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])


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
    parser.add_argument("--no-migrate", action="store_true", help="refuse new code that migrates")
    options = parser.parse_args()
    greeting = f"TaskFlow is on http://{options.host}:{options.port}"
    if options.greeting is not None:
        with os.fdopen(options.greeting) as file:
            greeting = file.read()
    write_log()
    listeners = listen(options.host, options.port, options.workers)
    server = Server(listeners, greeting, migrates=not options.no_migrate)
    sys.exit(asyncio.run(server.run()))


if __name__ == "__main__":
    main()
