"""
How an operation lets its request wait for commits, without a thread, a connection or a transaction.

An operation that has nothing to answer yet calls wait_for_commit(), and returns what is to be
answered if nothing comes: an empty page, or 204. Its transaction is rolled back and its
Idempotency-Key stays unused. The front keeps the request. After each commit that records events in
the tenant it answers the request again, through all middleware, until an answer does not wait. When
`seconds` have passed since the first answer, or the server stops, it sends the last answer:

    after = read_wait_state(request) or filters.after
    page = read_page(after)
    if filters.wait and not page.events:
        wait_for_commit(request, seconds=filters.wait, state=page.next_cursor)
    return respond(page)

`state` is what read_wait_state() returns in the next run. send_as_stream() is the same for a
response that does not end: each run returns the part that follows `state`. Without a front (in
tests, or below POST /plans) both do nothing. Do not let a dry run wait.

Many readers of a tenant wait for the same with tokens of their own. The front runs one of these
reads, and list_readers() returns the ids of all their tokens. An operation that can tell which of
them may get the same answer calls share_answer(); without it each is run alone. Such a run reads
one snapshot of the database, so that what one query finds about the tokens holds for the others.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime

from taskflow.http.preconditions import SAFE
from taskflow.http.request import Request

# In the environment of a request:
CAN_WAIT = "taskflow.can_wait"  # set by a server that lets requests wait
WAIT = "taskflow.wait"  # the Wait of a request that is to wait
WAIT_STATE = "taskflow.wait_state"  # that of the former run; absent in the first one
WAITED_SECONDS = "taskflow.waited_seconds"  # since the first run; absent in the first one
READERS = "taskflow.readers"  # ids of the tokens of equal reads, that of this one included
READER_CLASSES = "taskflow.reader_classes"  # for the front: what share_answer() was given
MAX_SECONDS = 25


@dataclass(slots=True)
class Wait:
    """What the front needs to keep a request."""

    tenant_id: int
    seconds: float  # from the first run on; of a stream without a limit, infinite
    state: str  # for the next run
    is_stream: bool
    is_due: bool  # whether the next part of the stream is there already
    expires_at: float | None  # when the credentials expire, by time.time(); None for never
    # Writes the line of the request and counts it, with the seconds for which it has waited. Set by
    # taskflow/http/request_record.py.
    write_record: Callable[[float], object] = lambda _: None
    token_id: int | None = None  # of the credentials, if they are a token
    # After how many seconds to run the request without any commit; None for never.
    again_after: float | None = None


def wait_for_commit(
    request: Request, *, seconds: float, state: str = "", again_after: float | None = None
) -> None:
    """Answer this request again after the next commit in the tenant of its actor, for `seconds`.

    Needs an actor. The response of this run is sent when nothing has come until then. With
    `again_after`, it is also answered again after so many seconds without a commit: something will
    change by time alone.
    """
    _wait(request, seconds=seconds, state=state, is_stream=False, is_due=False)
    if request.wait is not None:
        request.wait.again_after = again_after


def send_as_stream(request: Request, *, state: str, has_more: bool) -> None:
    """Send the response as the first part of a stream, and this request's later responses after it.

    Needs an actor. With `has_more`, the next run follows at once.
    """
    _wait(request, seconds=float("inf"), state=state, is_stream=True, is_due=has_more)


def read_wait_state(request: Request) -> str | None:
    """Return the `state` of the former run of this request; None in the first run."""
    state: str | None = request.META.get(WAIT_STATE)
    return state


def list_readers(request: Request) -> tuple[int, ...]:
    """Return the ids of the tokens with which this same read waits; none if this is the only one.

    That of this request is among them. The others may have been revoked.
    """
    readers: tuple[int, ...] = request.META.get(READERS, ())
    return readers


def share_answer(request: Request, classes: Mapping[int, Hashable]) -> None:
    """Let the readers get the answer of this run whose class is that of its own token.

    `classes` are by the id of the token, of tokens that are in use. The other readers of one class
    get an answer together. A token without a class is run alone.
    """
    request.META[READER_CLASSES] = classes


def is_run_again(environ: Mapping[str, object]) -> bool:
    """Return whether the request has waited, so that it was counted before."""
    return WAIT_STATE in environ


def is_waiting(request: Request) -> bool:
    """Return whether this run of a write has ended without a result, so that nothing is stored."""
    return request.wait is not None and request.method not in SAFE


def _wait(request: Request, *, seconds: float, state: str, is_stream: bool, is_due: bool) -> None:
    if CAN_WAIT not in request.META:
        return
    assert request.actor is not None
    token = request.actor.token
    expires_at = getattr(token, "expires_at", None)
    request.wait = Wait(
        tenant_id=int(request.actor.tenant.pk),
        seconds=seconds,
        state=state,
        is_stream=is_stream,
        is_due=is_due,
        expires_at=expires_at.timestamp() if isinstance(expires_at, datetime) else None,
        token_id=None if token is None else int(token.pk),
    )
