"""The class of every request: it declares each attribute that our own code adds to a request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, cached_property, lru_cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Literal, Protocol

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils.http import parse_header_parameters

from taskflow.http.addresses import find_scheme

if TYPE_CHECKING:
    from django.contrib.auth.base_user import AbstractBaseUser
    from django.db.models import Model

    from taskflow.http.errors import Forbidden, Problem
    from taskflow.http.waiting import Wait


MAX_HOSTS = 100  # of which is remembered whether they are allowed


@cache
def no_parameters() -> QueryDict:
    """Return an empty dictionary that cannot be changed. It needs the settings."""
    return QueryDict(encoding="utf-8")


@lru_cache(MAX_HOSTS)
def is_allowed_host(host: str, allowed_hosts: tuple[str, ...]) -> bool:
    """Return whether Django allows the host. It would compare it at each request."""
    request = HttpRequest()
    request.META["HTTP_HOST"] = host
    try:
        request.get_host()
    except DisallowedHost:
        return False
    return True


class Identity(Protocol):
    """The user who is signed in, and the tenant in which they act."""

    @property
    def user(self) -> Model: ...

    @property
    def tenant(self) -> Model: ...

    @property
    def token(self) -> Model | None: ...


class Request(WSGIRequest):
    """A request with the attributes that middleware and the API set on it.

    Its Content-Type only decides how the body is read. Django would also decode the query string
    and forms with the charset that the header names, which can be any codec of Python.
    """

    request_id: str = ""  # the id in the log, in problem documents and in events
    is_api: bool = False  # whether it is for the API, as RequestMiddleware finds
    operation_id: str = ""  # of the API operation that answers; "" if there is none
    actor: Identity | None = None  # None without valid credentials
    admin_tenant: Model | None = None  # the tenant that the admin shows, also before sign-in
    browser_session: Model | None = None  # the sign-in of the browser that sends the request
    session_user: AbstractBaseUser | None = None  # whom the session cookie has signed in
    is_repeated: bool = False  # an earlier attempt to answer was rolled back: see contention.py
    # dry_run and force of a JSON body, and those that are in the query string now: body_options.py
    body_options: Mapping[str, object] = MappingProxyType({})
    moved_options: frozenset[str] = frozenset()
    boolean_parameters: frozenset[str] = frozenset()  # of the query, which are true or false
    merged_fields: frozenset[str] = frozenset()  # that a merge patch merges; none in other bodies
    etag: str | None = None  # of the row in the response
    prepared_response: HttpResponse | None = None  # see responses.prepare_response()
    wait: Wait | None = None  # what this request waits for: see waiting.py
    # Of a request to /mcp: its message, and whether it may write. See taskflow/mcp/middleware.py.
    call: object = None
    tool_access: Literal["read", "write"] | None = None
    # What an admin page does after its unit of work, in that of another tenant.
    continue_outside: Callable[[], HttpResponse] | None = None
    form_refusal: Problem | None = None  # what an admin form shows above its fields
    missing_permission: Forbidden | None = None  # why the admin has refused something last
    held_roles: frozenset[str] | None = None  # of the user, in any project: tasks/admin/rights.py

    @cached_property
    def GET(self) -> QueryDict:  # type: ignore[override]  # the stubs want an immutable one
        """The parameters of the query. A request without any is not parsed."""
        return super().GET if self.META.get("QUERY_STRING") else no_parameters()

    @cached_property
    def permissions(self) -> dict[tuple[object, ...], Forbidden | None]:
        """What the rules have answered in this request: see accounts/admin/rights.py."""
        return {}

    def get_host(self) -> str:
        """Return the host. Raises DisallowedHost for one that is not in ALLOWED_HOSTS."""
        host = self.META.get("HTTP_HOST")
        if host and is_allowed_host(host, tuple(settings.ALLOWED_HOSTS)):
            return str(host)
        return super().get_host()

    def _get_scheme(self) -> str | None:
        return find_scheme(self.META)

    def _set_content_type_params(self, meta: Mapping[str, str]) -> None:
        """Keep the default encoding. An unreadable Content-Type header counts as an empty one."""
        try:
            parsed = parse_header_parameters(meta.get("CONTENT_TYPE", ""))
        except (LookupError, TypeError, ValueError):
            parsed = "", {}
        self.content_type, self.content_params = parsed
