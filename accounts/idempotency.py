"""Doing a write once, however often it is sent: answers are kept beside the write, for retries."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from django.db import OperationalError
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.crypto import salted_hmac

from accounts import tokens
from accounts.models import IdempotencyRecord
from taskflow.audit.actor import Actor
from taskflow.http.errors import Conflict, Invalid

RECORD_LIFETIME = timedelta(hours=24)
CLEANUP_INTERVAL = 100  # keys; then those that are too old go
LOCK_NOT_AVAILABLE = "55P03"  # PostgreSQL: lock_timeout is over
TOKEN = "{the token that this answer issued}"  # noqa: S105 - what stands for it in the store


def once(
    request: HttpRequest, key: str, work: Callable[[HttpRequest], HttpResponse]
) -> HttpResponse:
    """Do the work, or answer as it was answered before under the same Idempotency-Key.

    Inside the request's transaction, which keeps the answer with the write: a second call waits
    for the first. Nothing is kept of a refusal, which wrote nothing, so that it can be corrected
    and sent again. Raises Invalid when the key was used for another request, Conflict when the
    first call takes too long.
    """
    actor: Actor = request.actor  # type: ignore[attr-defined]
    kept = _claim(actor, key, _fingerprint(request, actor))
    entropy = salted_hmac("taskflow.idempotency", f"{kept.pk} {key}", algorithm="sha256").digest()
    token = tokens.make_token_text(actor.tenant.pk, entropy)
    if kept.status is not None:
        return _replayed(kept, token)
    request.actor = replace(actor, entropy=entropy)  # type: ignore[attr-defined]
    response = work(request)
    if response.status_code < 400:
        _keep(kept, response, token)
    return response


def delete_expired_records() -> int:
    """Forget the tenant's keys that are older than 24 hours; return how many."""
    old = IdempotencyRecord.objects.filter(created_at__lt=timezone.now() - RECORD_LIFETIME)
    return old.delete()[0]


def _claim(actor: Actor, key: str, fingerprint: str) -> IdempotencyRecord:
    """The key's row: new and without a status, or with the answer that was given."""
    mine = IdempotencyRecord.objects.filter(user_id=actor.user.pk, key=key)
    row = IdempotencyRecord(user_id=actor.user.pk, key=key, fingerprint=fingerprint)
    try:
        for _ in range(2):
            IdempotencyRecord.objects.bulk_create(
                [row], ignore_conflicts=True
            )  # waits for who has it
            kept = mine.select_for_update(no_key=True).first()
            if kept is not None and kept.created_at < timezone.now() - RECORD_LIFETIME:
                kept.delete()
            elif kept is not None:
                break
    except OperationalError as error:
        if getattr(error.__cause__, "sqlstate", None) != LOCK_NOT_AVAILABLE:
            raise
        raise _in_progress() from None
    if kept is None:  # swept away at this moment
        raise _in_progress()
    if kept.fingerprint != fingerprint:
        raise Invalid(
            "This Idempotency-Key was used for another request. Take a new one for each.",
            code="idempotency_key_reused",
        )
    return kept


def _in_progress() -> Conflict:
    return Conflict(
        "The first call with this Idempotency-Key is still at work. Send it again shortly.",
        code="in_progress",
        headers={"Retry-After": "1"},
    )


def _fingerprint(request: HttpRequest, actor: Actor) -> str:
    """Of all that decides the answer, what the token may do and show included.

    Under our secret: a body may hold a password.
    """
    said: list[Any] = [request.method, request.get_full_path(), request.content_type]
    said += [request.META.get("HTTP_IF_MATCH"), actor.scope, actor.project_ids]
    text = json.dumps(said).encode() + request.body
    return salted_hmac("taskflow.fingerprint", text, algorithm="sha256").hexdigest()


def _keep(kept: IdempotencyRecord, response: HttpResponse, token: str) -> None:
    """Without the token that it may issue: no secret is stored, it can be made again."""
    IdempotencyRecord.objects.filter(pk=kept.pk).update(
        status=response.status_code,
        headers=dict(response.items()),
        body=response.content.decode().replace(token, TOKEN),
    )
    if kept.pk % CLEANUP_INTERVAL == 0:
        delete_expired_records()


def _replayed(kept: IdempotencyRecord, token: str) -> HttpResponse:
    answer = HttpResponse(kept.body.replace(TOKEN, token), status=kept.status, headers=kept.headers)
    answer["Idempotency-Replayed"] = "true"
    return answer
