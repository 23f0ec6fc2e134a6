"""Idempotency keys: a write that is sent several times with the same key happens once.

The response is stored in the write's own transaction, and retries get it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

from django.db import OperationalError
from django.db.models import QuerySet
from django.http import HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts.issued_secrets import find_secrets, hide, show
from accounts.models import IdempotencyRecord, User
from taskflow.audit.actor import Actor, ActorRequest
from taskflow.db.expressions import JsonList
from taskflow.http.errors import Conflict, Forbidden, Invalid
from taskflow.http.waiting import is_waiting

RECORD_LIFETIME = timedelta(hours=24)
CLEANUP_INTERVAL = 100  # expired records are deleted after every hundredth new one
LOCK_NOT_AVAILABLE = "55P03"  # SQLSTATE: PostgreSQL's lock_timeout has passed


def run_once(
    request: ActorRequest, key: str, work: Callable[[ActorRequest], HttpResponse]
) -> HttpResponse:
    """Do the work and store its response, or return the response that the key already has.

    Call it inside the request's transaction: a second request with the same key waits until the
    first one commits. A response with a status of 400 or more is not stored, so that the request
    can be corrected and sent with the same key; nor is that of a request which waits for commits.
    Raises Invalid when the key was used for another request, Conflict when the first request takes
    too long, and Forbidden when the actor may no longer see the stored response.
    """
    actor = request.actor
    record = _reserve_key(actor, key, _fingerprint(request, actor))
    entropy = salted_hmac("taskflow.idempotency", f"{record.pk} {key}", algorithm="sha256").digest()
    issued = find_secrets(actor, entropy, request.path)
    if record.status is not None:
        _check_rights(actor, record)
        return _replay_response(record, issued)
    request.actor = replace(actor, entropy=entropy)
    response = work(request)
    if response.status_code < 400 and not is_waiting(request):
        _store_response(actor, record, response, issued)
    return response


def find_expired_records() -> QuerySet[IdempotencyRecord]:
    """Return the records that are older than 24 hours."""
    rows: QuerySet[IdempotencyRecord] = IdempotencyRecord.objects.filter(
        created_at__lt=timezone.now() - RECORD_LIFETIME
    )
    return rows


def delete_expired_records() -> int:
    """Delete the tenant's records that are older than 24 hours. Return how many there were."""
    return find_expired_records().delete()[0]


def _reserve_key(actor: Actor, key: str, fingerprint: str) -> IdempotencyRecord:
    """Return the key's locked record: a new one without a status, or one with a response."""
    rows = IdempotencyRecord.objects.filter(user_id=actor.user.pk, key=key)
    new = IdempotencyRecord(user_id=actor.user.pk, key=key, fingerprint=fingerprint)
    try:
        for _ in range(2):
            # Waits for a request that has inserted the same key and not committed yet.
            IdempotencyRecord.objects.bulk_create([new], ignore_conflicts=True)
            record = rows.select_for_update(no_key=True).first()
            if record is not None and record.created_at < timezone.now() - RECORD_LIFETIME:
                record.delete()
            elif record is not None:
                break
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        raise _in_progress() from None
    if record is None:  # another request deleted it between the two statements
        raise _in_progress()
    if record.fingerprint != fingerprint:
        raise Invalid(
            "This Idempotency-Key was used for another request. Use a new key for each request.",
            code="idempotency_key_reused",
        )
    return record


def _in_progress() -> Conflict:
    return Conflict(
        "The first request with this Idempotency-Key is still being processed. Retry shortly.",
        code="in_progress",
        headers={"Retry-After": "1"},
    )


def _fingerprint(request: ActorRequest, actor: Actor) -> str:
    """Return a hash of everything that affects the response or the event, rights included.

    It is keyed with the installation's secret, since a body may hold a password.
    """
    parts: list[object] = [request.method, request.get_full_path(), request.content_type]
    parts += [request.META.get("HTTP_IF_MATCH"), actor.scope, actor.project_ids]
    parts += [actor.reason, actor.on_behalf_of.pk if actor.on_behalf_of else None]
    parts += [actor.claim_id] if actor.claim_id else []
    text = json.dumps(parts).encode() + request.body
    return salted_hmac("taskflow.fingerprint", text, algorithm="sha256").hexdigest()


def _check_rights(actor: Actor, record: IdempotencyRecord) -> None:
    """Raise Forbidden if the actor sees less than when the response was stored.

    Which projects a response shows is not known, so the loss of any membership counts. A response
    without a body shows nothing. The token has the same rights: see _fingerprint(). One query at
    most.
    """
    if actor.is_staff or not record.body:
        return
    lost = set(record.project_ids or ())
    if lost:
        lost -= set(_project_ids_of(actor).values_list("memberships__project_id", flat=True))
    if record.was_staff or lost:
        raise Forbidden(
            "The first request with this Idempotency-Key has succeeded, and this one changed"
            " nothing. Its response is not sent again, because you have lost access since then.",
            code="replay_refused",
        )


def _project_ids_of(actor: Actor) -> QuerySet[User]:
    """Select the user once for each project that the user is a member of.

    With a token that another user has created, only the projects of which this user is a member
    too: the token shows no others.
    `memberships` is the reverse name of tasks.ProjectMember.user. This app may not import it.
    """
    conditions: dict[str, object] = {"pk": actor.user.pk, "memberships__isnull": False}
    if actor.maker_id is not None:
        conditions["memberships__project__memberships__user"] = actor.maker_id
    users: QuerySet[User] = User.objects.filter(**conditions)
    return users.order_by()


def _store_response(
    actor: Actor, record: IdempotencyRecord, response: HttpResponse, issued: Mapping[str, str]
) -> None:
    """Store the response without the secrets that it may contain: they can be computed again."""
    project_ids = None
    if not actor.is_staff:
        project_ids = JsonList(_project_ids_of(actor).values("memberships__project_id"))
    IdempotencyRecord.objects.filter(pk=record.pk).update(
        status=response.status_code,
        headers=dict(response.items()),
        body=hide(response.content.decode(), issued),
        was_staff=actor.is_staff,
        project_ids=project_ids,
    )
    if record.pk % CLEANUP_INTERVAL == 0:
        delete_expired_records()


def _replay_response(record: IdempotencyRecord, issued: Mapping[str, str]) -> HttpResponse:
    body = show(record.body, issued)
    response = HttpResponse(body, status=record.status, headers=record.headers)
    response["Idempotency-Replayed"] = "true"
    return response
