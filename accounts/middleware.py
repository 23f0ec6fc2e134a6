"""Opens the unit of work of a request: one transaction in one tenant.

It is rolled back when the response is an error, and after a dry run. A write with an
Idempotency-Key happens once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

from django.conf import settings
from django.contrib import auth
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import DisallowedHost, RequestDataTooBig
from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.http import HttpResponse
from django.utils import timezone

from accounts import tokens
from accounts.actions.sessions import end_session
from accounts.attribution import add_attribution, check_principal
from accounts.auth import (
    ACTING_TENANT,
    NO_TENANT,
    PUBLIC_PATHS,
    SESSION_ID,
    build_token_actor,
    find_active_tenant,
    find_live_token,
    find_tenant,
    read_bearer_token,
    read_subdomain,
    record_session_use,
    record_token_use,
)
from accounts.idempotency import run_once
from accounts.models import PLATFORM, Session, Tenant, User
from accounts.passwords import answer_with_password_checks
from taskflow.audit.actor import Actor, ActorRequest
from taskflow.audit.models import Via
from taskflow.audit.recorder import serialize_graph_changes
from taskflow.http.addresses import find_client
from taskflow.http.bodies import ADMIN_PREFIX, API_PREFIXES, read_body
from taskflow.http.body_options import is_dry_run
from taskflow.http.contention import respond_with_retries, restore_request
from taskflow.http.database_errors import (
    is_unavailable,
    report_database_error,
    respond_to_database_error,
)
from taskflow.http.errors import (
    BadRequest,
    NotFound,
    PreconditionFailed,
    Problem,
    TooManyRequests,
    Unavailable,
    problem_of_response,
    problem_of_status,
)
from taskflow.http.files import WrittenFile
from taskflow.http.health import close_read_only_connection
from taskflow.http.preconditions import SAFE, read_idempotency_key, read_precondition
from taskflow.http.request_limits import count_request
from taskflow.http.unavailable import ReadOnly
from taskflow.http.waiting import is_run_again, is_waiting, list_readers
from taskflow.tenancy import TenantError, allow_early_commit, inside

PLANS_PATH = "/api/v1/plans"  # what is planned is always rolled back

GetResponse = Callable[[ActorRequest], HttpResponse]


class TenantMiddleware:
    """Opens the request's transaction in the tenant that its credentials name."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: ActorRequest) -> HttpResponse:
        if (refusal := read_body(request)) is not None:
            return refusal
        if request.path.startswith(API_PREFIXES):
            response = self.answer_api(request)
        elif request.path.startswith(ADMIN_PREFIX):
            response = self.answer_admin(request)
        else:
            return self.get_response(request)
        if isinstance(problem_of_response(response), ReadOnly):
            close_read_only_connection()
        return response

    # ---- the API ----

    def answer_api(self, request: ActorRequest) -> HttpResponse:
        """Answer a request of the API. Contended transactions are run again."""
        try:
            return self.respond(request, self.answer_authenticated)
        except DisallowedHost:
            sentence = "The Host header names no host of this installation."
            return BadRequest(sentence).as_response(request)
        except RequestDataTooBig:
            return problem_of_status(413).as_response(request)
        except Problem as problem:
            return problem.as_response(request)
        except DatabaseError as error:
            return respond_to_database_error(request, error)

    def answer_authenticated(self, request: ActorRequest) -> HttpResponse:
        """Answer inside the tenant of the credentials, or without one if there are none."""
        subdomain = read_subdomain(request)
        if request.path in PUBLIC_PATHS:
            return self.get_response(request)
        text = read_bearer_token(request)
        if text is not None:
            return self.answer_with_token(request, text, subdomain)
        key = request.COOKIES.get(settings.SESSION_COOKIE_NAME, "")
        if key.isalnum():  # as session keys are; PostgreSQL raises errors for NUL and surrogates
            return self.answer_with_session(request, key, subdomain)
        return self.get_response(request)

    def answer_with_token(
        self, request: ActorRequest, text: str, subdomain: str | None
    ) -> HttpResponse:
        tenant_id = tokens.read_tenant_id(text)
        if tenant_id is None:
            return self.get_response(request)  # operations that need a token answer 401
        is_safe = request.method in SAFE or request.tool_access == "read"
        is_shared = bool(list_readers(request))
        with inside(tenant_id, read_only=is_safe, one_snapshot=is_shared):
            token = find_live_token(text)
            if token is None:
                return self.run_view(request)
            if subdomain not in (None, token.tenant.subdomain):
                raise NotFound(NO_TENANT)
            limits = count_once(request, token.pk, tenant_id)
            response = self.serve(request, build_token_actor(request, token))
        record_token_use(token)
        return add_headers(response, limits)

    def answer_with_session(
        self, request: ActorRequest, key: str, subdomain: str | None
    ) -> HttpResponse:
        request.session = SessionStore(key)
        home = find_active_tenant(subdomain)
        if home is None or (user := load_session_user(request, home)) is None:
            return self.get_response(request)
        tenant = choose_acting_tenant(request, user, home)
        with inside(tenant, read_only=request.method in SAFE):
            actor = Actor(
                user, tenant, request_id=request.request_id, address=find_client(request.META)
            )
            limits = count_once(request, None, tenant.pk)
            response = add_headers(self.serve(request, actor), limits)
        finish_use_of_session(request, home)
        return response

    def serve(self, request: ActorRequest, actor: Actor) -> HttpResponse:
        """Answer as the actor; for writes, apply preconditions, dry run and idempotency key."""
        if request.method in SAFE:
            request.actor = actor
            allow_early_commit()
            return self.run_view(request)
        if request.tool_access == "read":  # a tool may need several queries
            request.actor = actor
            return self.run_view(request)
        if request.is_repeated:
            serialize_graph_changes(actor)
        actor = add_attribution(request, actor)
        precondition = read_precondition(request)
        actor = replace(actor, precondition=precondition) if precondition else actor
        request.actor = actor
        if is_dry_run(request) or request.path == PLANS_PATH:
            check_principal(actor)
            return self.answer_without_changes(request)
        run_view = self.run_view_with_precondition if precondition else self.run_view
        # Tools use the key for the request that they send inside this one.
        key = None if request.tool_access else read_idempotency_key(request)
        if key is not None:
            return run_once(request, key, partial(run_for_principal, run_view))
        check_principal(actor)
        if precondition is None and request.tool_access is None:
            allow_early_commit()
        return run_view(request)

    def run_view_with_precondition(self, request: ActorRequest) -> HttpResponse:
        """Raise PreconditionFailed when If-Match names a row that the request does not change."""
        response = self.run_view(request)
        precondition = request.actor.precondition
        if (
            precondition
            and precondition.event_ids
            and not precondition.is_checked
            and response.status_code < 400
        ):
            raise PreconditionFailed(
                f"If-Match names {precondition.resource_type} {precondition.row_id}, which this"
                " request does not change."
            )
        return response

    def answer_without_changes(self, request: ActorRequest) -> HttpResponse:
        """Answer as to the real request, and roll it back.

        The response has no Location and no ETag: nothing is there that they could name.
        """
        response = self.run_view_with_precondition(request)
        if response.status_code < 400:
            check_deferred_constraints()
            transaction.set_rollback(True)
            del response["Location"], response["ETag"]
        response["Dry-Run"] = "true"
        return response

    # ---- the admin ----

    def answer_admin(self, request: ActorRequest) -> HttpResponse:
        try:
            return self.respond(request, self.answer_in_tenant)
        except NotFound:
            return HttpResponse(NO_TENANT, status=404, content_type="text/plain")
        except (Unavailable, DatabaseError) as error:
            response = self.process_exception(request, error)
            if response is None:
                raise
            return response

    def process_exception(self, request: ActorRequest, error: Exception) -> HttpResponse | None:
        """Answer 503 for an admin page while the database is busy, read-only or unreachable.

        Django calls this for an exception of a view, and answers 500 if it returns None. The API's
        views handle their exceptions themselves.
        """
        if not request.path.startswith(ADMIN_PREFIX):
            return None
        if isinstance(error, DatabaseError) and is_unavailable(error):
            return report_database_error(request, error).as_page(request)
        return error.as_page(request) if isinstance(error, Unavailable) else None

    def answer_in_tenant(self, request: ActorRequest) -> HttpResponse:
        home = find_tenant(read_subdomain(request))
        user = load_session_user(request, home)
        tenant = choose_acting_tenant(request, user, home)
        request.admin_tenant = tenant
        if user is not None:
            request.actor = Actor(
                user,
                tenant,
                via=Via.ADMIN,
                request_id=request.request_id,
                address=find_client(request.META),
            )
        # Pages show and read clock times in the time zone of the tenant.
        with (
            timezone.override(tenant.zone),
            inside(tenant, read_only=request.method in SAFE),
        ):
            if user is not None and request.method not in SAFE and request.is_repeated:
                serialize_graph_changes(request.actor)
            response = show_refusal(request, self.run_view(request))
        if request.continue_outside is not None:
            response = show_refusal(request, request.continue_outside())
        finish_use_of_session(request, home)
        return response

    # ---- both ----

    def respond(self, request: ActorRequest, answer: GetResponse) -> HttpResponse:
        """Answer a request. Contended transactions are run again, and so are those that need a
        password checked, which happens outside of them.
        """
        if request.method in SAFE:
            return respond_with_retries(request, answer)
        original = dict(vars(request))
        return answer_with_password_checks(
            lambda: respond_with_retries(request, answer),
            lambda: restore_request(request, original),
        )

    def run_view(self, request: ActorRequest) -> HttpResponse:
        """Return the rendered response. The transaction is rolled back if it is an error."""
        response = self.get_response(request)
        if response.streaming and not isinstance(response, WrittenFile):
            raise TenantError(
                "a streamed response outlives its transaction: open units of work inside it"
            )
        if hasattr(response, "render") and not getattr(response, "is_rendered", True):
            response.render()  # rendered later, it would query after the unit of work has ended
        if response.status_code >= 400 or is_waiting(request):
            transaction.set_rollback(True)
        return response


def count_once(request: ActorRequest, token_id: int | None, tenant_id: int) -> Mapping[str, str]:
    """Count the request, unless it was counted before it waited. Return the headers of the limits.

    Raises TooManyRequests.
    """
    return {} if is_run_again(request.META) else count_request(token_id, tenant_id)


def add_headers(response: HttpResponse, headers: Mapping[str, str]) -> HttpResponse:
    """Add the headers, and return the same response."""
    for name, value in headers.items():
        response[name] = value
    return response


def show_refusal(request: ActorRequest, response: HttpResponse) -> HttpResponse:
    """Give a page that shows a reached limit the status 429 and Retry-After."""
    refusal = request.form_refusal
    if isinstance(refusal, TooManyRequests):
        response.status_code = refusal.status
        add_headers(response, refusal.headers)
    return response


def check_deferred_constraints() -> None:
    """Raise IntegrityError now for what COMMIT would refuse. SQLite does so at COMMIT only."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def load_session_user(request: ActorRequest, home: Tenant) -> User | None:
    """Return the session's user, or None. The user is looked up in the host's tenant only."""
    if not request.session.get(auth.SESSION_KEY):
        return None
    with inside(home, read_only=True):
        user = auth.get_user(request)
        if not isinstance(user, User):
            return None
        session_id = request.session.get(SESSION_ID, 0)
        session = Session.objects.filter(pk=session_id, user=user).first()
    if session is None or not session.is_live(user, timezone.now()):
        return None
    request.browser_session, request.session_user = session, user
    return user


def finish_use_of_session(request: ActorRequest, home: Tenant) -> None:
    """Store that the browser's session was used; or that it has ended, if the user signed out."""
    session = request.browser_session
    if not isinstance(session, Session):
        return
    if auth.SESSION_KEY in request.session:
        record_session_use(session, home)
        return
    with inside(home):
        end_session(Actor(session.user, home, via=Via.ADMIN), session)


def choose_acting_tenant(request: ActorRequest, user: User | None, home: Tenant) -> Tenant:
    """Return the tenant to work in: the user's own, or the one that an operator has chosen."""
    chosen_id = request.session.get(ACTING_TENANT)
    if user is None or not user.is_superuser or home.subdomain != PLATFORM or chosen_id is None:
        return home
    return Tenant.objects.filter(pk=chosen_id).first() or home


def run_for_principal(
    run_view: Callable[[ActorRequest], HttpResponse], request: ActorRequest
) -> HttpResponse:
    """Answer the request. Raises Forbidden unless its actor may act for the user it names."""
    check_principal(request.actor)
    return run_view(request)
