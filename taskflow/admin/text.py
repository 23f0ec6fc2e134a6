"""Texts in URLs and forms of the admin must be UTF-8 without NUL.

Django replaces bytes that are not UTF-8, so that another text than the one sent would be stored.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from django.http import HttpResponse, QueryDict
from django.http.multipartparser import MultiPartParser

from taskflow.http.middleware import GetResponse
from taskflow.http.request import Request
from taskflow.http.schema import is_unstorable

ADMIN = "/admin/"
ONE_BYTE_EACH = "latin-1"  # maps each byte to a character, so that the bytes can be restored
REFUSAL = (
    "The URL or the form contains text that cannot be stored: NUL characters, or bytes that"
    " are not UTF-8. Remove them and send it again.\n"
)


class AdminTextMiddleware:
    """Middleware. Answers 400 to an admin request with text that is not UTF-8 or contains NUL."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: Request) -> HttpResponse:
        if request.path.startswith(ADMIN) and not all(map(is_storable, sent_texts(request))):
            return HttpResponse(REFUSAL, status=400, content_type="text/plain; charset=utf-8")
        return self.get_response(request)


def sent_texts(request: Request) -> Iterator[bytes]:
    """Yield the bytes of the path, and of the names and values of the query and the form."""
    yield request.path.encode(errors="surrogatepass")
    query = QueryDict(request.META.get("QUERY_STRING", ""), encoding=ONE_BYTE_EACH)
    for sent in (query, _form_of(request)):
        for name, values in sent.lists():
            for text in (name, *values):
                yield text.encode(ONE_BYTE_EACH, errors="replace")


def _form_of(request: Request) -> QueryDict:
    if request.content_type == "multipart/form-data":
        parser = MultiPartParser(request.META, BytesIO(request.body), [], ONE_BYTE_EACH)
        fields, _files = parser.parse()
        return fields
    if request.content_type == "application/x-www-form-urlencoded":
        return QueryDict(request.body, encoding=ONE_BYTE_EACH)
    return QueryDict()


def is_storable(sent: bytes) -> bool:
    try:
        return not is_unstorable(sent.decode())
    except UnicodeDecodeError:
        return False
