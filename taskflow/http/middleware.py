"""Middleware for every request: request id, log line, security headers, problems under /api."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import Any

from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.auth.models import AnonymousUser
from django.contrib.messages.middleware import MessageMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.core.exceptions import MiddlewareNotUsed
from django.http import (
    HttpRequest,
    HttpResponse,
    HttpResponseForbidden,
    HttpResponseNotAllowed,
)
from django.http.response import HttpResponseBase, ResponseHeaders
from django.middleware.common import CommonMiddleware
from django.middleware.csrf import CsrfViewMiddleware
from django.utils import translation
from django.utils.cache import patch_vary_headers

from taskflow.http.bodies import ADMIN_PREFIX, API_PREFIXES
from taskflow.http.compression import compress
from taskflow.http.errors import CONTENT_TYPE, problem_of_status
from taskflow.http.request import Request
from taskflow.http.request_record import QUEUE_SECONDS, record
from taskflow.http.security_headers import API_HEADERS, PAGE_HEADERS, REQUEST_ID, VARY_API
from taskflow.http.static_files import static_files, static_response
from taskflow.metrics.timing import timings

DOCS = "/api/v1/docs"
PROBES = frozenset({"/livez", "/readyz"})
# A page would treat other methods as GET. The check of CSRF lets TRACE pass.
PAGE_METHODS = ("GET", "HEAD", "OPTIONS", "POST")

GetResponse = Callable[[Request], HttpResponse]


def is_api(request: HttpRequest) -> bool:
    """Return whether a request is for the API. The documentation page under /api/ is not."""
    return request.path.startswith(API_PREFIXES) and not request.path.startswith(DOCS)


def is_complete(response: HttpResponse) -> bool:
    """Return whether an error response has a form of its own, such as that of JSON-RPC."""
    return bool(getattr(response, "is_complete", False))


class RequestMiddleware:
    """The outermost middleware. Gives each request an id, security headers and a line in the log.

    Every error response of the API becomes a problem document, also those of Django.
    """

    api_headers = ResponseHeaders(API_HEADERS)._store
    page_headers = ResponseHeaders(PAGE_HEADERS)._store

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: Request) -> HttpResponse:
        started = time.perf_counter()
        timings.reset(float(request.META.get(QUEUE_SECONDS, 0.0)))
        sent_id = request.META.get("HTTP_X_REQUEST_ID", "")
        request_id = sent_id if REQUEST_ID.fullmatch(sent_id) else secrets.token_hex(16)
        request.request_id = request_id
        request.is_api = is_api(request)
        response = self.respond(request)
        if "HTTP_ACCEPT_ENCODING" in request.META:
            compress(request, response)
        self.set_headers(request, response)
        record(request, response, started)
        return response

    def respond(self, request: Request) -> HttpResponse:
        if not request.path.startswith(API_PREFIXES):
            if request.method not in PAGE_METHODS:
                return HttpResponseNotAllowed(PAGE_METHODS)
            return self.get_response(request)
        # ninja has no HEAD. It is answered as GET, and the server removes the body.
        is_head = request.method == "HEAD"
        if is_head:
            request.method = request.META["REQUEST_METHOD"] = "GET"
        response = self.get_response(request)
        if is_head:
            request.method = request.META["REQUEST_METHOD"] = "HEAD"
        if response.status_code == 405:
            response = answer_allowed_methods(request, response)
        if response.status_code in (204, 304):
            del response["Content-Type"]  # Django sets it also for responses without a body
        content_type = response.headers.get("Content-Type", "")
        is_foreign = not content_type.startswith(CONTENT_TYPE) and not is_complete(response)
        if response.status_code >= 400 and is_foreign:
            # Other headers stay: Allow, and those of CORS, without which a browser hides the rest.
            others = {n: v for n, v in response.items() if not n.startswith("Content-")}
            response = problem_of_status(response.status_code, others).as_response(request)
        return response

    def set_headers(self, request: Request, response: HttpResponse) -> None:
        """Add the request id, and the security headers that the response does not have, all at
        once.

        Setting them one by one would be a tenth of the function calls of a request.
        """
        headers, security = response.headers, self.page_headers
        if request.is_api:
            security = self.api_headers
            if "vary" in headers._store:
                patch_vary_headers(response, VARY_API)
        own = {"x-request-id": ("X-Request-Id", request.request_id)}
        headers._store = security | headers._store | own


def answer_allowed_methods(request: Request, response: HttpResponse) -> HttpResponse:
    """Complete the Allow header of a 405. To OPTIONS, answer 204 with it instead, and with the
    media types that PATCH accepts.

    Ninja knows neither HEAD nor OPTIONS.
    """
    allowed = {method.strip() for method in response.get("Allow", "").split(",")} - {""}
    allowed |= {"OPTIONS"} | ({"HEAD"} if "GET" in allowed else set())
    if request.method == "OPTIONS":
        response = HttpResponse(status=204)
        if types := getattr(_view_of(request), "accept_patch", None):
            response["Accept-Patch"] = types
    response["Allow"] = ", ".join(sorted(allowed))
    return response


def _view_of(request: Request) -> object:
    return request.resolver_match.func if request.resolver_match else None


class _BrowserOnly:
    """Base of middleware that only pages for browsers need. API requests skip it to save time.

    Health checks skip it too, because they come with a Host header that ALLOWED_HOSTS refuses.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        super().__init__(get_response)  # type: ignore[call-arg]
        # The next middleware that is not a _BrowserOnly. Django's wrapper around a middleware has
        # the attributes of the middleware.
        self.next_for_api = getattr(get_response, "next_for_api", get_response)

    def __call__(self, request: HttpRequest) -> Any:
        # By RequestMiddleware.
        if request.is_api or request.path in PROBES:  # type: ignore[attr-defined]
            return self.next_for_api(request)
        return super().__call__(request)  # type: ignore[misc]


class _ServeStaticFiles:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response
        static_files()  # so that a worker does not list them at its first request

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return static_response(request) or self.get_response(request)


class StaticFiles(_BrowserOnly, _ServeStaticFiles):
    pass


class Sessions(_BrowserOnly, SessionMiddleware):
    pass


class Common(_BrowserOnly, CommonMiddleware):
    pass


class _SetLanguage:
    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(ADMIN_PREFIX):
            return self.get_response(request)
        language = translation.get_language_from_request(request)
        with translation.override(language):
            response = self.get_response(request)
        patch_vary_headers(response, ("Accept-Language", "Cookie"))
        response.headers.setdefault("Content-Language", language)
        return response


class Language(_BrowserOnly, _SetLanguage):
    """Answers requests for pages of the admin in the language of the cookie, or of Accept-Language.

    Django's own middleware would leave the language to the next request of the thread, which may be
    one of the API.
    """


class Authentication(_BrowserOnly, AuthenticationMiddleware):
    def process_request(self, request: HttpRequest) -> None:
        """Set request.user: the user that TenantMiddleware has found, or an anonymous one.

        The user id in the cookie's session is not enough: the sign-in may have ended.
        """
        assert isinstance(request, Request)
        user = request.session_user or AnonymousUser()
        request.user = user  # type: ignore[assignment]  # stubs: our own User


class Messages(_BrowserOnly, MessageMiddleware):
    pass


class Cors(CorsMiddleware):
    """Django skips this middleware unless TASKFLOW_CORS_ORIGINS allows other origins."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        if not settings.CORS_ALLOWED_ORIGINS:
            raise MiddlewareNotUsed
        super().__init__(get_response)


class Csrf(_BrowserOnly, CsrfViewMiddleware):
    def process_view(self, request: Request, *args: Any) -> HttpResponseForbidden | None:  # type: ignore[override]
        """Check pages only. accounts/auth.py checks API requests that come with a session."""
        return None if request.is_api else super().process_view(request, *args)
