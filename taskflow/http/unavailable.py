"""Why the server or its database does not answer a request now. Most can be sent again."""

from __future__ import annotations

from http import HTTPStatus

from taskflow.http.errors import Unavailable


class Overloaded(Unavailable):
    """The request was not begun, because the server has too many others."""

    code = "overloaded"

    def __init__(
        self, detail: str = "The server has too many requests. Send the request again shortly."
    ) -> None:
        super().__init__(detail)


class Silent(Unavailable):
    """The database has not answered in time. It may still do what was sent to it."""

    code = "database_silent"

    def __init__(
        self,
        detail: str = "The database does not answer. It is not known whether a write was done: send"
        " it again with the same Idempotency-Key.",
    ) -> None:
        super().__init__(detail)


class Busy(Unavailable):
    """Others have taken what the database has one or few of: SQLite's writer, or connections."""

    code = "database_busy"

    def __init__(
        self,
        detail: str = "Other requests use the database for too long. Send the request again"
        " shortly.",
    ) -> None:
        super().__init__(detail)


class LockTimeout(Unavailable):
    code = "lock_timeout"

    def __init__(
        self,
        detail: str = "Other requests lock the same rows for too long. Send the request again"
        " shortly.",
    ) -> None:
        super().__init__(detail)


class StatementTimeout(Unavailable):
    code = "statement_timeout"

    def __init__(
        self,
        detail: str = "The database needs too long for this request. Try again shortly, or ask for"
        " less.",
    ) -> None:
        super().__init__(detail)


class TooMuch(Unavailable):
    """The request holds SQLite's one writer for too long. Sent again, it would do so again."""

    status = HTTPStatus.UNPROCESSABLE_ENTITY
    code = "too_many"

    def __init__(self) -> None:
        super().__init__(
            "The request changes too much: nobody else can write meanwhile, and it was ended."
            " Nothing was changed. Change fewer objects with one request."
        )
        self.headers = {}


class Contended(Unavailable):
    """The transaction was rolled back, and would succeed if it were run again from its start.

    taskflow/http/contention.py runs it again. A client gets this only after several attempts.
    """

    code = "contended"

    def __init__(
        self,
        detail: str = "Other requests are changing the same rows. Send the request again shortly.",
    ) -> None:
        super().__init__(detail)


class ReadOnly(Unavailable):
    """The whole database accepts only reads: a standby server, or one in maintenance."""

    code = "read_only"

    def __init__(
        self, detail: str = "The database accepts only reads at the moment. Try again shortly."
    ) -> None:
        super().__init__(detail)


class StorageFull(Unavailable):
    """Nothing can be written until the operator has made space. Most reads need none."""

    status = HTTPStatus.INSUFFICIENT_STORAGE
    code = "storage_full"

    def __init__(self, detail: str = "The disk of the database is full.") -> None:
        super().__init__(detail)
        self.headers = {"Retry-After": "60"}
