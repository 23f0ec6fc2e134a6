"""Texts in URLs and forms of the admin must be UTF-8 without NUL, and those in URLs must be short.

Django replaces bytes that are not UTF-8, so that another text than the one sent would be stored. It
makes a condition of each word of a search, and a column of each number of an order, so that a
database refuses a statement that is made of a long text.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from django.http import HttpResponse, QueryDict
from django.http.multipartparser import MultiPartParser
from django.utils.translation import gettext_lazy as _

from taskflow.http.bodies import ADMIN_PREFIX
from taskflow.http.middleware import GetResponse
from taskflow.http.request import Request
from taskflow.http.schema import is_unstorable

ONE_BYTE_EACH = "latin-1"  # maps each byte to a character, so that the bytes can be restored
MAX_LENGTH = 500  # characters of a value in a URL: of searches, filters, orders and pages
# Characters of a value that contains others: the filters of the list to return to, those of the API
# for a list of tasks, and what a form proposes, such as ids of rows.
MAX_LENGTH_OF_SEVERAL = 8000
PARAMETERS_OF_SEVERAL = frozenset({"_changelist_filters", "where"})
FORM_PAGES = ("/add/", "/change/")
TOO_LONG = _(
    "The value of “%s” in the URL has more than %d characters. Nothing was changed. Shorten it and"
    " send it again.\n"
)
REFUSAL = _(
    "The URL or the form contains text that cannot be stored: NUL characters, or bytes that"
    " are not UTF-8. Remove them and send it again.\n"
)


class AdminTextMiddleware:
    """Middleware. Answers 400 to an admin request with text that is not UTF-8 or contains NUL, and
    to a long text in its URL.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: Request) -> HttpResponse:
        if request.path.startswith(ADMIN_PREFIX) and (refusal := describe_bad_text(request)):
            return HttpResponse(refusal, status=400, content_type="text/plain; charset=utf-8")
        return self.get_response(request)


def describe_bad_text(request: Request) -> str | None:
    """Return the sentence with which the texts of the request are refused, or None."""
    if not all(map(is_storable, sent_texts(request))):
        return str(REFUSAL)
    is_form = request.path.endswith(FORM_PAGES)
    for name, values in request.GET.lists():
        has_several = is_form or name in PARAMETERS_OF_SEVERAL
        limit = MAX_LENGTH_OF_SEVERAL if has_several else MAX_LENGTH
        if max(map(len, (name, *values))) > limit:
            return TOO_LONG % (name[:MAX_LENGTH], limit)
    return None


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
