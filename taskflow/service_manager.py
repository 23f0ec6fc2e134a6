"""Messages to systemd, which starts the server with NOTIFY_SOCKET: sd_notify(3)."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress


class ServiceManager:
    """Reports what the server does. Does nothing where no service manager listens."""

    def __init__(self) -> None:
        """Read the variables of the environment, and remove them: they are for this process."""
        self.address = os.environ.pop("NOTIFY_SOCKET", "")
        microseconds = int(os.environ.pop("WATCHDOG_USEC", "0"))
        is_for_us = os.environ.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        # After which the server is ended and started again if it has sent no WATCHDOG=1. 0: never.
        self.watchdog_seconds = microseconds / 1_000_000 if self.address and is_for_us else 0.0

    def report_ready(self, status: str) -> None:
        self._send("READY=1", f"STATUS={status}")

    def report_reloading(self) -> None:
        microseconds = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={microseconds}")

    def report_stopping(self) -> None:
        self._send("STOPPING=1")

    def report_alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, *lines: str) -> None:
        if not self.address:
            return
        # “@” is written for the byte 0, with which an abstract address begins.
        address = "\0" + self.address[1:] if self.address.startswith("@") else self.address
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto("\n".join(lines).encode(), address)
