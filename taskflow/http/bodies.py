"""
Request bodies are checked, and read completely, before anything else happens.

Under the server of TaskFlow they have arrived by then: taskflow/front/ passes on complete requests
only. No transaction is open while a body is read, whatever the server.
"""

from __future__ import annotations

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.http import HttpResponse, UnreadablePostError
from django.template.loader import render_to_string

from taskflow.http.charsets import check_charset
from taskflow.http.errors import BadRequest, Problem, problem_of_status
from taskflow.http.request import Request

MCP_PATH = "/mcp"  # the tools of language models: taskflow/mcp/
API_PREFIXES = ("/api/", MCP_PATH)  # of paths that need a token, and whose errors are problems
ADMIN_PREFIX = "/admin/"  # of paths whose errors are pages
MAX_CONTENT_LENGTH_DIGITS = 19  # Python's int() refuses more than 4,300 digits
DIGITS_OF_SMALL_BODY = 6  # a Content-Length with so many digits is below every limit


def find_body_limit(path: str) -> int:
    """Return the largest allowed body of requests for a path in bytes. Files may be larger."""
    is_file = settings.FILE_PATHS.fullmatch(path)
    limit: int = settings.MAX_FILE_BYTES if is_file else settings.MAX_BODY_BYTES
    return limit


def is_body_allowed(path: str, content_length: str) -> bool:
    """Return whether a Content-Length is a number of bytes that is allowed for the path."""
    if not content_length.isdecimal() or len(content_length) > MAX_CONTENT_LENGTH_DIGITS:
        return False
    is_small = len(content_length) <= DIGITS_OF_SMALL_BODY
    return is_small or int(content_length) <= find_body_limit(path)


def read_body(request: Request) -> HttpResponse | None:
    """Read the whole body into `request.body`. Return a refusal, or None if it was read.

    A body above MAX_BODY_BYTES, or a file above MAX_FILE_BYTES, is refused by its Content-Length,
    without reading it.
    """
    content_length = request.META.get("CONTENT_LENGTH") or "0"
    if content_length == "0":
        return None
    try:
        # Operations of the API check their content type themselves.
        if not request.path.startswith(API_PREFIXES):
            check_charset(request)
        if not content_length.isdecimal():
            raise BadRequest("Content-Length must be a number of bytes.")
        if not is_body_allowed(request.path, content_length):
            raise RequestDataTooBig
        if len(request.body) < int(content_length):
            raise BadRequest("The body is shorter than its Content-Length.")
    except RequestDataTooBig:
        return _refuse_large(request)
    except UnreadablePostError:
        return _refuse(request, BadRequest("The connection ended before the body did."))
    except Problem as problem:
        return _refuse(request, problem)
    return None


def _refuse_large(request: Request) -> HttpResponse:
    """Return a page for a form of the admin, which is not read: so it knows no user.

    Everything else is refused as _refuse() does.
    """
    problem = problem_of_status(413)
    if not request.path.startswith(ADMIN_PREFIX):
        return _refuse(request, problem)
    is_file = settings.FILE_PATHS.fullmatch(request.path) is not None
    context = {"is_file": is_file, "address": request.path}
    page = render_to_string("admin/too_large.html", context)
    return HttpResponse(page, status=problem.status, headers=problem.headers)


def _refuse(request: Request, problem: Problem) -> HttpResponse:
    """Return a problem document for the API, and plain text for everything else."""
    if request.path.startswith(API_PREFIXES):
        return problem.as_response(request)
    return HttpResponse(
        problem.detail,
        status=problem.status,
        content_type="text/plain; charset=utf-8",
        headers=problem.headers,
    )
