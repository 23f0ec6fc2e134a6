"""What django-ninja leaves open: refusing what it would ignore, versions, readable ids."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from typing import Any

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI, Status
from ninja.openapi.schema import BODY_CONTENT_TYPES
from ninja.operation import Operation
from ninja.renderers import JSONRenderer
from ninja.responses import NinjaJSONEncoder

from taskflow.http.components import OpenApiDocument
from taskflow.http.descriptions import complete
from taskflow.http.errors import (
    Invalid,
    LengthRequired,
    Problem,
    problem_of_status,
)
from taskflow.http.parsing import StrictParser
from taskflow.http.preconditions import DRY_RUN, SAFE, etag_of, has_body, is_known
from taskflow.http.responses import empty_response
from taskflow.http.schema import is_unstorable


def refuse_what_would_be_ignored(run: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Refuse unknown query parameters, bodies where none is read, and chunked bodies.

    Each would be ignored: a misspelt filter would answer with everything, and {"dry_run": true} as
    the body of a DELETE would not keep it from deleting.
    """
    operation: Operation = run.__self__  # type: ignore[attr-defined]  # ninja hands us the bound run
    known = _query_parameters(operation)
    takes_body = _takes_body(operation)

    def checked(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if refusal := _refuse_chunks(request):
            return refusal.as_response(request)
        if any(isinstance(part, str) and is_unstorable(part) for part in kwargs.values()):
            return problem_of_status(404).as_response(request)
        if not takes_body and has_body(request):
            return _unexpected_body(request, known).as_response(request)
        if unknown := sorted(request.GET.keys() - known):
            what = f"Known: {', '.join(sorted(known))}." if known else "There are none."
            problem = Invalid.parameter(
                unknown[0], f"“{unknown[0]}” is not a parameter here. {what}", "unknown_parameter"
            )
            return problem.as_response(request)
        request.query_parameters = known  # type: ignore[attr-defined]  # see answer_validation()
        return run(request, **kwargs)

    return checked


def refuse_bodies(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Refuse bodies where they would be ignored, for views that are no operations."""

    def checked(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        refusal = _refuse_chunks(request)
        if refusal is None and has_body(request):
            refusal = _unexpected_body(request, frozenset())
        return refusal.as_response(request) if refusal else view(request, **kwargs)

    return checked


def _refuse_chunks(request: HttpRequest) -> Problem | None:
    if request.META.get("HTTP_TRANSFER_ENCODING"):  # the server hands such bodies on empty
        return LengthRequired("Send a Content-Length; chunks are not read.")
    return None


def _query_parameters(operation: Operation) -> frozenset[str]:
    """The names of all query parameters of an operation."""
    names = {
        name
        for model in operation.models
        if model.__ninja_param_source__ == "query"
        for name in getattr(model, "__ninja_flatten_map__", {})
    }
    return frozenset(names | ({DRY_RUN} if _takes_conditions(operation) else set()))


def _takes_body(operation: Operation) -> bool:
    """Whether a body is declared: as a parameter of the function, or for the document alone."""
    if any(model.__ninja_param_source__ in BODY_CONTENT_TYPES for model in operation.models):
        return True
    return "requestBody" in (operation.openapi_extra or {})


def _unexpected_body(request: HttpRequest, known: frozenset[str]) -> Problem:
    """The refusal of a body that nothing would read; for a write it names the parameters."""
    detail = "This operation takes no body. Send the request without one"
    if request.method not in SAFE and known:
        parameters = " and ".join(f"?{name}=true" for name in sorted(known))
        detail += f"; what it takes are query parameters: {parameters}"
    return Invalid(f"{detail}.", code="unexpected_body")


def _takes_conditions(operation: Operation) -> bool:
    """Whether it is a write of somebody who is known."""
    return bool(operation.auth_callbacks) and not SAFE.issuperset(operation.methods)


class Encoder(NinjaJSONEncoder):
    """Instants to the microsecond, as documents have them that the database builds."""

    def default(self, value: Any) -> Any:
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return super().default(value)


class Renderer(JSONRenderer):
    encoder_class = Encoder


class Api(NinjaAPI):
    def __init__(self, **kwargs: Any) -> None:
        super().__init__(parser=StrictParser(), renderer=Renderer(), **kwargs)
        self.add_decorator(refuse_what_would_be_ignored, mode="view")
        self.add_decorator(self.compare_versions)

    def compare_versions(self, view: Callable[..., Any]) -> Callable[..., Any]:
        """Name the version of the row that is answered, or say 304 where the caller has it."""

        @wraps(view)
        def compared(request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            result = view(request, *args, **kwargs)
            row = result.value if isinstance(result, Status) else result
            if not (isinstance(row, Model) and hasattr(row, "version")):
                return result
            etag = etag_of(row)
            if request.method in SAFE and is_known(request, etag):
                return _not_modified(etag)
            request.etag = etag  # type: ignore[attr-defined]
            return result

        return compared

    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        """Return the response that ninja begins with; respond() uses it too."""
        return empty_response(request)

    def create_response(self, request: HttpRequest, data: Any, **kwargs: Any) -> HttpResponse:
        """Single rows carry an ETag that names their version, new ones also a Location."""
        response = super().create_response(request, data, **kwargs)
        if etag := getattr(request, "etag", None):
            response["ETag"] = etag
        if response.status_code == 201 and "id" in data:
            response["Location"] = f"{self._collection(request.path)}/{data['id']}"
        return response

    def _collection(self, path: str) -> str:
        """Where a row made at `path` lives: /projects/3/members makes /members/7."""
        known = {prefix.strip("/") for prefix, _router in self._routers} - {""}
        nouns = [part for part in path.split("/") if part in known]
        return f"{path[: path.index(nouns[0])]}{nouns[-1]}"

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> Any:
        """Raises ImproperlyConfigured when two classes would share the name of a component."""
        if path_prefix is None:
            path_prefix = self.get_root_path(path_params or {})
        return complete(OpenApiDocument(self, path_prefix))


def _not_modified(etag: str) -> HttpResponse:
    return HttpResponse(status=304, headers={"ETag": etag})
