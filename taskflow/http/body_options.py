"""`dry_run` and `force`, which are query parameters, are also accepted in a JSON body.

They are moved from the body to the query string before anything reads either, so that no operation
has to declare them twice.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from django.http import HttpRequest, QueryDict

from taskflow.http.errors import Invalid
from taskflow.http.media_types import JSON, MERGE_PATCH
from taskflow.http.parsing import parse_json
from taskflow.http.preconditions import DRY_RUN, read_dry_run
from taskflow.http.request import Request
from taskflow.http.validation import KINDS
from taskflow.http.value_errors import WRONG_TYPE

FORCE = "force"
DRY_RUN_MARK, FORCE_MARK = b'"dry_run"', b'"force"'
JSON_TYPES = frozenset({JSON, MERGE_PATCH})


def read_body_options(request: Request) -> Mapping[str, object]:
    """Set request.body_options to the options at the top of a JSON body, by name, and return them.

    Empty for any other body. A body is parsed only if it has one of the names anywhere, so that an
    ordinary write costs two searches of its bytes. A name that is written with escapes is not an
    option, and the operation refuses it as an unknown field.
    """
    text = request.body
    if (DRY_RUN_MARK in text or FORCE_MARK in text) and request.content_type in JSON_TYPES:
        request.body_options = _parse_options(text)
    return request.body_options


def _parse_options(text: bytes) -> dict[str, object]:
    try:
        body = parse_json(text)
    except ValueError:  # the operation refuses the body
        return {}
    if not isinstance(body, dict):
        return {}
    return {name: body[name] for name in (DRY_RUN, FORCE) if name in body}


def move_body_options(request: Request, accepted: Collection[str]) -> None:
    """Move the options of request.body_options that are in `accepted` to the query string.

    Raises Invalid if an option is not true or false, or if the query string says something else.
    """
    options = {n: v for n, v in request.body_options.items() if n in accepted}
    if not options:
        return
    query: QueryDict = request.GET.copy()
    for name, value in options.items():
        query[name] = "true" if check_option(request, name, value) else "false"
    request.GET = query
    request.moved_options = frozenset(options)


def is_dry_run(request: Request) -> bool:
    """Return whether the URL or the body says that nothing is to be changed.

    Raises Invalid for a value that is not true or false, and if URL and body differ.
    """
    options = read_body_options(request)
    if DRY_RUN in options:
        return check_option(request, DRY_RUN, options[DRY_RUN])
    return read_dry_run(request)


def check_option(request: HttpRequest, name: str, value: object) -> bool:
    """Return the value of an option of the body.

    Raises Invalid if it is not true or false, or if the query string says something else.
    """
    if not isinstance(value, bool):
        kind = KINDS.get(type(value), "this")
        raise Invalid.field(
            name, f"“{name}” must be true or false, without quotes, not {kind}.", WRONG_TYPE
        )
    in_query = request.GET.getlist(name)
    if in_query and in_query != ["true" if value else "false"]:
        raise Invalid.field(
            name,
            f"“{name}” has one value in the URL and another in the body. Send it once.",
            "contradiction",
        )
    return value
