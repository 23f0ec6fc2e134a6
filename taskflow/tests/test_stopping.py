"""The server and its workers end on a signal, as soon as running requests are answered."""

from __future__ import annotations

import fcntl
import os
import pty
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from conftest import PROOF
from taskflow.tests.server import (
    ROOT,
    demo_environment,
    free_port,
    is_running,
    list_workers,
)
from taskflow.worker_pool import KILL_TIMEOUT_SECONDS

SOON = KILL_TIMEOUT_SECONDS / 2  # seconds: a worker that has to be killed takes twice as long
HALF = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"

pytestmark = [pytest.mark.slow, pytest.mark.readme, pytest.mark.proof]


class Terminal:
    """A server in the foreground of a terminal."""

    def __init__(self, port: int, workers: int, environment: dict[str, str]) -> None:
        self.port = port
        self.screen, keyboard = pty.openpty()
        command = [sys.executable, "manage.py", "serve", "--port", str(port)]
        self.process = subprocess.Popen(
            [*command, "--workers", str(workers)],
            cwd=ROOT,
            env=environment,
            stdin=keyboard,
            stdout=keyboard,
            stderr=keyboard,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(keyboard)
        shown = b""
        while b"TaskFlow is on" not in shown:
            shown += os.read(self.screen, 10_000)  # raises OSError when the server ends early

    def press_ctrl_c(self) -> None:
        os.write(self.screen, b"\x03")

    def hang_up(self) -> None:
        """Close the window of the terminal."""
        os.close(self.screen)
        self.screen = os.open(os.devnull, os.O_RDONLY)

    def workers(self) -> list[int]:
        return list_workers(self.process.pid)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.screen)


def wait_until(condition: Callable[[], bool]) -> bool:
    """Return whether the condition is true within SOON seconds."""
    end = time.monotonic() + SOON
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    return demo_environment(tmp_path_factory.mktemp("server") / "data")


@pytest.fixture
def start(environment):
    """start(workers) starts a server in a terminal, and returns the terminal when it answers."""

    @contextmanager
    def starting(workers: int) -> Iterator[Terminal]:
        terminal = Terminal(free_port(), workers, environment)
        try:
            yield terminal
        finally:
            terminal.close()

    with ExitStack() as stack:
        yield lambda workers: stack.enter_context(starting(workers))


def ends_soon(terminal: Terminal, workers: list[int]) -> bool:
    ended = wait_until(lambda: terminal.process.poll() is not None)
    return ended and not any(is_running(worker) for worker in workers)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_the_server_and_its_workers(start, workers):
    for _ in range(12 if PROOF else 1):
        terminal = start(workers)
        running = terminal.workers()

        terminal.press_ctrl_c()

        assert len(running) == workers
        assert ends_soon(terminal, running)
        assert terminal.process.returncode == 0


@pytest.mark.parametrize("stop", [Terminal.press_ctrl_c, lambda t: t.process.terminate()])
def test_server_stops_soon_despite_incomplete_bodies(start, stop):
    terminal = start(2)
    running = terminal.workers()

    with ExitStack() as connections:
        for _ in range(6):
            connection = socket.create_connection(("127.0.0.1", terminal.port))
            connections.enter_context(connection).sendall(HALF)
        time.sleep(0.2)  # until they are being read
        stop(terminal)

        assert ends_soon(terminal, running)
    assert terminal.process.returncode == 0


def test_closing_the_terminal_ends_the_server_and_its_workers(start):
    terminal = start(2)
    running = terminal.workers()

    terminal.hang_up()  # which sends SIGHUP, as a request for new code does

    assert ends_soon(terminal, running)
