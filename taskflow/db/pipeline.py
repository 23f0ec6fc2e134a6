"""
What PostgreSQL gets without our waiting for each statement: what a change owes (its UPDATE, its
event) goes with the next question, and the COMMIT with the last one.

Nothing overtakes: whatever else a connection is asked, what it owes is sent first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from psycopg import Connection, OperationalError
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.errors import (
    DuplicatePreparedStatement,
    InvalidSqlStatementName,
    error_from_result,
)
from psycopg.generators import execute
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.types.datetime import TimestamptzLoader

COMMIT = b"COMMIT"
# The server knows other statements of a connection than we do: somebody else has prepared one, or
# had it forget some, as DISCARD ALL does.
NOT_AS_PREPARED = (DuplicatePreparedStatement, InvalidSqlStatementName)
DONE = {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}


class Session:
    """What we know of a connection: the statements it has prepared, how to read its values, and
    what it still owes.
    """

    def __init__(self, conn: Connection[Any]) -> None:
        self.names: set[bytes] = set()
        self.is_unsure = False  # the server knows other names than these
        self.connection, self.adapters = conn, AdaptersMap(conn.adapters)
        # Django's is Python; the instants are UTC's either way, as the connection is.
        self.adapters.register_loader("timestamptz", TimestamptzLoader)
        self.transformer = Transformer.from_context(self)
        self.owed: list[bytes] = []
        self.opening: bytes | None = None  # where the transaction may end with a question
        self.is_over = False  # it has

    def forget_names(self) -> None:
        """Begin anew with what is prepared, here and on the server."""
        result = self.connection.pgconn.exec_(b"DEALLOCATE ALL")
        if result.status != ExecStatus.COMMAND_OK:
            raise refusal(self.connection, result)
        self.names.clear()
        self.is_unsure = False


def session_of(conn: Connection[Any]) -> Session:
    """Kept with the connection, and gone with it."""
    session: Session | None = vars(conn).get("taskflow")
    if session is None:
        session = vars(conn)["taskflow"] = Session(conn)
    return session


def is_heard(connection: Any) -> bool:
    """Whether somebody listens to Django's statements."""
    others = connection.execute_wrappers
    return bool(connection.queries_logged or (others and others != [_settle_first]))


def tell(connection: Any, sql: str, values: Any, work: Callable[[], Any]) -> Any:
    """Do the work as if it were a statement of Django's: execute wrappers and the debug log hear
    of it. What is owed they hear of when it is said, not when it is sent.
    """

    def execute(sql: str, params: Any, many: bool, context: Any) -> Any:
        return work()

    for wrapper in reversed(connection.execute_wrappers):
        if wrapper is not _settle_first:
            execute = partial(wrapper, execute)
    if connection.queries_logged:
        connection.queries_log.append({"sql": sql % tuple(map(repr, values)), "time": ""})
    return execute(sql, values, False, {"connection": connection, "cursor": None})


# ---- in a transaction ---------------------------------------------------------------------------


def owe(connection: Any, statement: bytes) -> None:
    """Have it sent with the next one. Its refusal is raised then."""
    session_of(connection.connection).owed.append(statement)
    _watch(connection)


def ask(connection: Any, question: bytes, *, last: bool) -> Any:
    """Send what is owed and the question; return its result.

    With `last` the COMMIT goes along, where the transaction may end with a question.
    """
    session = session_of(connection.connection)
    ends = last and session.opening is not None
    results = _exchange(connection, [question, COMMIT] if ends else [question])
    if ends:
        session.is_over = True
        _watch(connection)
    return results[-2 if ends else -1]


def settle(connection: Any) -> None:
    """Send what is owed; begin again where the transaction is over."""
    session = session_of(connection.connection)
    if session.owed or session.is_over:
        _exchange(connection, [])


def may_end(connection: Any, opening: bytes) -> None:
    """Let the transaction end with the next question that says it is the last. If anything follows
    all the same, the `opening` is sent before it.
    """
    session_of(connection.connection).opening = opening


def finish(connection: Any, *, commit: bool) -> None:
    """Send what is owed, with the COMMIT if that is asked for."""
    if connection.connection is not None and session_of(connection.connection).owed:
        _exchange(connection, [COMMIT] if commit else [])


def forget(connection: Any) -> None:
    """Nothing is owed by what is rolled back, or over."""
    _unwatch(connection)
    if connection.connection is not None:
        session = session_of(connection.connection)
        session.owed, session.opening, session.is_over = [], None, False


def _settle_first(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    """An execute wrapper, while anything is owed."""
    connection = context["connection"]
    if sql.startswith("ROLLBACK TO"):  # a savepoint, before which everything was settled
        session_of(connection.connection).owed.clear()
    settle(connection)
    return execute(sql, params, many, context)


def _watch(connection: Any) -> None:
    if _settle_first not in connection.execute_wrappers:
        # In front: who leaves his own takes the last one off.
        connection.execute_wrappers.insert(0, _settle_first)


def _unwatch(connection: Any) -> None:
    if _settle_first in connection.execute_wrappers:
        connection.execute_wrappers.remove(_settle_first)


def _exchange(connection: Any, statements: list[bytes]) -> list[Any]:
    """The results of what is owed and of these. Raises what the database refused."""
    conn = connection.connection
    session = session_of(conn)
    statements, session.owed = session.owed + statements, []
    if session.is_over:
        statements, session.is_over = [session.opening or b"", *statements], False
    _unwatch(connection)
    with connection.wrap_database_errors:
        conn.pgconn.send_query(b"; ".join(statements))
        results: list[Any] = conn.wait(execute(conn.pgconn))
        for result in results:
            if result.status not in DONE:
                raise refusal(conn, result)
    return results


# ---- results ------------------------------------------------------------------------------------


def read_rows(conn: Connection[Any], result: Any) -> list[Any]:
    """Raises what the database refused."""
    if result.status == ExecStatus.COMMAND_OK:
        return []
    if result.status != ExecStatus.TUPLES_OK:
        raise refusal(conn, result)
    transformer = session_of(conn).transformer
    transformer.set_pgresult(result)
    rows: list[Any] = transformer.load_rows(0, result.ntuples, tuple)
    return rows


def refusal(conn: Connection[Any], result: Any) -> Exception:
    """What to raise for a result that is none."""
    if conn.pgconn.status == ConnStatus.BAD:  # psycopg has no name for it
        return OperationalError(result.error_message or "The connection is lost.")
    error = error_from_result(result, encoding=conn.info.encoding)
    if isinstance(error, NOT_AS_PREPARED):
        # No name is relied on until the transaction, which this error has ended, is run again.
        session_of(conn).names.clear()
        session_of(conn).is_unsure = True
    return error
