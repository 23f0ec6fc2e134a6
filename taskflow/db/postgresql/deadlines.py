"""What ends a wait for a database that is silent: frozen, or not reachable any more.

libpq waits for an answer without limit, and the limits of the server do not hold when the server
itself stands still. The kernel of a frozen server still confirms what is sent to it, so that
tcp_user_timeout does not end the wait either. So each connection notes since when it waits, and a
thread closes its socket when that is too long. This costs two assignments for each message; a wait
with a timeout in Python would cost as much as the statement.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time
from contextlib import suppress
from typing import Any, Self
from weakref import WeakSet

import psycopg
from psycopg.abc import PQGen
from psycopg.errors import ConnectionTimeout

from taskflow.db.causes import SILENT

# More than statement_timeout: a server that works ends a statement itself, and says why.
ANSWER_SECONDS = 5.5
LOOK_SECONDS = 0.2  # between two looks at what waits, and between two attempts to connect


class SilentDatabase(psycopg.OperationalError):
    """The database has not answered in time. It may still do what was sent to it."""

    sqlstate = SILENT


class AnswerWatch:
    """Since when a connection waits for an answer, and what ends the wait.

    `with watch:` around what waits, also one inside another. It raises SilentDatabase in place of
    the errors of a socket that was closed here. The socket is a copy: the number of the original
    may belong to another file once it is closed.
    """

    def __init__(self, descriptor: int) -> None:
        self.waits_since: float | None = None  # of the clock perf_counter()
        self.is_cut = False
        self.silences = reachability.silences
        self._socket = socket.socket(fileno=os.dup(descriptor))

    def __enter__(self) -> None:
        self.waits_since = time.perf_counter()

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        self.waits_since = None
        if self.is_cut and isinstance(error, psycopg.OperationalError):
            raise self.explain(error) from None

    @property
    def is_outlived(self) -> bool:
        """Return whether the database has been silent since the connection was made.

        The way to it may have changed, or another server may have taken its place.
        """
        return self.silences != reachability.silences

    def cut(self) -> None:
        """Close the socket for both directions. The thread that waits gets an error at once."""
        self.is_cut = True
        reachability.report_silence()
        with suppress(OSError):  # the other side may have closed it
            self._socket.shutdown(socket.SHUT_RDWR)

    def explain(self, error: Exception) -> Exception:
        """Return the error, or SilentDatabase if it comes from a socket that was closed here."""
        if not self.is_cut or isinstance(error, SilentDatabase):
            return error
        return SilentDatabase(f"The database has not answered for {ANSWER_SECONDS:g} s.")

    def close(self) -> None:
        self._socket.close()


class WatchedConnection(psycopg.Connection[Any]):
    """A connection that does not wait longer than ANSWER_SECONDS, if watch_answers() was called."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.watch = AnswerWatch(self.fileno())
        _watches.add(self.watch)

    @classmethod
    def connect(cls, *args: Any, **kwargs: Any) -> Self:
        """Connect within connect_timeout. Raises SilentDatabase after that time, and at once while
        the database is silent.
        """
        reachability.check(kwargs)
        try:
            return super().connect(*args, **kwargs)
        except ConnectionTimeout:
            reachability.report_silence()
            raise SilentDatabase("The database has not accepted a connection in time.") from None

    def wait(self, gen: PQGen[Any], *args: Any, **kwargs: Any) -> Any:
        """Run what waits for the server. All of psycopg's own statements do so here."""
        with self.watch:
            return super().wait(gen, *args, **kwargs)

    def has_unread_data(self) -> bool:
        """Return whether the server has sent something unread, such as the end of the connection.

        Also true for a closed connection. Does not wait.
        """
        if self.closed:
            return True
        listener = select.poll()
        listener.register(self.fileno(), select.POLLIN)
        return bool(listener.poll(0))

    def close(self) -> None:
        super().close()
        self.watch.close()


# ---- the process ---------------------------------------------------------------------------------


class Reachability:
    """Whether the database of this process answers."""

    def __init__(self) -> None:
        self.silences = 0  # how often it did not
        self.is_watched = False  # in a server
        self._parameters: dict[str, Any] = {}  # of the last connection
        self._probe: threading.Thread | None = None  # which tries to connect
        self._lock = threading.Lock()

    def check(self, parameters: dict[str, Any]) -> None:
        """Raise SilentDatabase while the database is silent. Store how to connect to it."""
        if self._probe is not None:
            raise SilentDatabase("The database is silent.")
        self._parameters = parameters

    def report_silence(self) -> None:
        """Refuse new connections of a server until the database answers.

        A thread tries to connect meanwhile, so that no request has to wait for the attempt. In a
        command nothing is refused: it has no other requests to answer.
        """
        with self._lock:
            self.silences += 1
            if self.is_watched and self._probe is None:
                probe = threading.Thread(target=self._wait_for_answer, daemon=True)
                probe.start()
                self._probe = probe

    def _wait_for_answer(self) -> None:
        try:
            while self._is_silent():
                time.sleep(LOOK_SECONDS)
        finally:
            with self._lock:
                self._probe = None

    def _is_silent(self) -> bool:
        try:
            psycopg.connect(**self._parameters).close()
        except ConnectionTimeout:
            return True
        except psycopg.Error:
            return False  # a refusal is an answer, too
        return False


reachability = Reachability()
_watches: WeakSet[AnswerWatch] = WeakSet()


def watch_answers() -> None:
    """Start the thread that ends waits of this process. For servers: commands may wait longer."""
    reachability.is_watched = True
    threading.Thread(target=_look_forever, name="database deadlines", daemon=True).start()


def _look_forever() -> None:
    while True:
        time.sleep(LOOK_SECONDS)
        cut_silent_connections()


def cut_silent_connections() -> None:
    """Close the connections of this process that have waited longer than ANSWER_SECONDS."""
    deadline = time.perf_counter() - ANSWER_SECONDS
    for watch in tuple(_watches):
        since = watch.waits_since
        if since is not None and since < deadline:
            watch.cut()
