"""
The unit of work: one request, one transaction, one tenant.

It is rolled back when the answer is an error, and when the request was only tried. A write with an
Idempotency-Key is done once.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse

from accounts import tokens
from accounts.auth import (
    ACTING_TENANT,
    NO_TENANT,
    PUBLIC_PATHS,
    build_token_actor,
    find_tenant,
    inside_tenant_of_token,
    read_bearer_token,
    read_subdomain,
    record_token_use,
)
from accounts.idempotency import once
from accounts.models import PLATFORM, Tenant, User
from accounts.schemas import EventResponse, build_event_response
from taskflow.audit.actor import Actor
from taskflow.audit.history import read_history
from taskflow.audit.models import Via
from taskflow.audit.recorder import capture_events, serialize_graph_changes
from taskflow.http.bodies import read_body
from taskflow.http.contention import answer_until_settled, is_repeated
from taskflow.http.errors import (
    BadRequest,
    NotFound,
    PreconditionFailed,
    Problem,
    ReadOnly,
    Unavailable,
    answer_database_error,
    log_database_error,
    problem_of_database,
    problem_of_response,
    problem_of_status,
)
from taskflow.http.health import disconnect
from taskflow.http.preconditions import SAFE, read_dry_run, read_idempotency_key, read_precondition
from taskflow.tenancy import TenantError, inside, may_end_with_answer

API, ADMIN = "/api/", "/admin/"
MOST_EVENTS = 500  # shown of what a dry run would record

GetResponse = Callable[[HttpRequest], HttpResponse]


class TenantMiddleware:
    """Opens the request's transaction, inside the tenant that its credentials name."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if (refusal := read_body(request)) is not None:
            return refusal
        if request.path.startswith(API):
            response = self.answer_api(request)
        elif request.path.startswith(ADMIN):
            response = self.answer_admin(request)
        else:
            return self.get_response(request)
        if isinstance(problem_of_response(response), ReadOnly):
            disconnect()
        return response

    # ---- the API ----

    def answer_api(self, request: HttpRequest) -> HttpResponse:
        try:
            return answer_until_settled(request, self.answer_caller)
        except DisallowedHost:
            return BadRequest("The Host header is not one of ours.").as_response(request)
        except RequestDataTooBig:
            return problem_of_status(413).as_response(request)
        except Problem as problem:
            return problem.as_response(request)
        except DatabaseError as error:
            return answer_database_error(request, error)

    def answer_caller(self, request: HttpRequest) -> HttpResponse:
        """Answer within the one transaction that the credentials name, if they name any."""
        subdomain = read_subdomain(request)
        if request.path in PUBLIC_PATHS:
            return self.get_response(request)
        text = read_bearer_token(request)
        if text is not None:
            return self.answer_token(request, text, subdomain)
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
        if key.isalnum():  # as we make them; PostgreSQL chokes on some others
            return self.answer_session(request, key, subdomain)
        return self.get_response(request)

    def answer_token(self, request: HttpRequest, text: str, subdomain: str | None) -> HttpResponse:
        tenant_id = tokens.read_tenant_id(text)
        if tenant_id is None:
            return self.get_response(request)  # what needs a token answers 401
        is_safe = request.method in SAFE
        with inside_tenant_of_token(text, tenant_id, reading=is_safe) as found:
            if not found:
                return self.work(request)
            token = found[0]
            if subdomain not in (None, token.tenant.subdomain):
                raise NotFound(NO_TENANT)
            response = self.serve(request, build_token_actor(request, token))
        record_token_use(token)
        return response

    def answer_session(self, request: HttpRequest, key: str, subdomain: str | None) -> HttpResponse:
        request.session = SessionStore(key)
        name = subdomain or settings.DEFAULT_TENANT
        home = Tenant.objects.filter(subdomain=name, is_active=True).first()
        if home is None or (user := load_session_user(request, home)) is None:
            return self.get_response(request)
        tenant = choose_acting_tenant(request, user, home)
        with inside(tenant, reading=request.method in SAFE):
            actor = Actor(user, tenant, request_id=getattr(request, "request_id", ""))
            return self.serve(request, actor)

    def serve(self, request: HttpRequest, actor: Actor) -> HttpResponse:
        """What was asked, under the conditions that it was asked under."""
        if request.method in SAFE:
            request.actor = actor  # type: ignore[attr-defined]
            may_end_with_answer()
            return self.work(request)
        if is_repeated(request):
            serialize_graph_changes(actor)
        seen = read_precondition(request)
        request.actor = replace(actor, precondition=seen) if seen else actor  # type: ignore[attr-defined]
        if read_dry_run(request):
            return self.try_out(request)
        work = self.work_as_seen if seen else self.work
        key = read_idempotency_key(request)
        if key is not None:
            return once(request, key, work)
        if seen is None:
            may_end_with_answer()
        return work(request)

    def work_as_seen(self, request: HttpRequest) -> HttpResponse:
        """Raises PreconditionFailed when If-Match names a row that the request does not change."""
        response = self.work(request)
        seen = request.actor.precondition  # type: ignore[attr-defined]
        if seen and seen.recorded and not seen.is_checked and response.status_code < 400:
            raise PreconditionFailed(
                f"If-Match names {seen.noun} {seen.row_id}, which this request does not change."
            )
        return response

    def try_out(self, request: HttpRequest) -> HttpResponse:
        """Do it, tell what it would answer and record, and undo it."""
        with capture_events() as events:
            response = self.work_as_seen(request)
        if response.status_code >= 400:
            return response
        if connection.vendor == "postgresql":  # SQLite can ask them only by committing
            with connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        entries = read_history(request.actor, events[:MOST_EVENTS])  # type: ignore[attr-defined]
        transaction.set_rollback(True)
        return JsonResponse(
            {
                "dry_run": True,
                "status": response.status_code,
                "result": json.loads(response.content) if response.content else None,
                "event_count": len(events),
                "events": [
                    EventResponse.model_validate(build_event_response(entry)).model_dump(
                        mode="json"
                    )
                    for entry in entries
                ],
            }
        )

    # ---- the admin ----

    def answer_admin(self, request: HttpRequest) -> HttpResponse:
        try:
            return answer_until_settled(request, self.answer_staff)
        except NotFound:
            return HttpResponse(NO_TENANT, status=404, content_type="text/plain")
        except (Unavailable, DatabaseError) as error:
            response = self.process_exception(request, error)
            if response is None:
                raise
            return response

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Answer a page of the administration that the database cannot serve now.

        Django calls this for what a view raises, and otherwise makes a 500 of it. The API's views
        answer their own errors.
        """
        if not request.path.startswith(ADMIN):
            return None
        problem = problem_of_database(error) if isinstance(error, DatabaseError) else error
        if not isinstance(problem, Unavailable):
            return None
        log_database_error(request, error, problem)
        return problem.as_page(request)

    def answer_staff(self, request: HttpRequest) -> HttpResponse:
        home = find_tenant(read_subdomain(request))
        user = load_session_user(request, home)
        tenant = choose_acting_tenant(request, user, home)
        request.tenant = tenant  # type: ignore[attr-defined]
        if user is not None:
            request._cached_user = user  # type: ignore[attr-defined]  # what auth.get_user() answers
            request.actor = Actor(  # type: ignore[attr-defined]
                user, tenant, via=Via.ADMIN, request_id=getattr(request, "request_id", "")
            )
        with inside(tenant, reading=request.method in SAFE):
            if user is not None and request.method not in SAFE and is_repeated(request):
                serialize_graph_changes(request.actor)  # type: ignore[attr-defined]
            return self.work(request)

    # ---- both ----

    def work(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if response.streaming:
            raise TenantError("a streamed answer outlives its transaction: open scopes inside it")
        if hasattr(response, "render") and not getattr(response, "is_rendered", True):
            response.render()  # a lazy page would query after the scope has closed
        if response.status_code >= 400:
            transaction.set_rollback(True)
        return response


def load_session_user(request: HttpRequest, home: Tenant) -> User | None:
    """The session's user, looked for in the host's own tenant: elsewhere the cookie is nobody's."""
    if not request.session.get(auth.SESSION_KEY):
        return None
    with inside(home, reading=True):
        user = auth.get_user(request)
    return user if isinstance(user, User) else None


def choose_acting_tenant(request: HttpRequest, user: User | None, home: Tenant) -> Tenant:
    """Staff works at home; an operator where he said he would."""
    picked = request.session.get(ACTING_TENANT)
    if user is None or not user.is_superuser or home.subdomain != PLATFORM or picked is None:
        return home
    return Tenant.objects.filter(pk=picked).first() or home
