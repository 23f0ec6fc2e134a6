"""The API class: refuses input that ninja would ignore, and adds ETags and Locations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache, wraps
from typing import Any, NoReturn

from django.core.serializers.json import DjangoJSONEncoder
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.urls import URLPattern, URLResolver
from ninja import NinjaAPI, Router, Status, operation
from ninja.errors import ValidationErrorContext
from ninja.operation import Operation
from ninja.renderers import JSONRenderer
from pydantic import BaseModel

from taskflow.http.body_options import move_body_options
from taskflow.http.components import BODY_SOURCES, OpenApiDocument
from taskflow.http.descriptions import complete_document
from taskflow.http.errors import Invalid, LengthRequired, Problem, problem_of_status
from taskflow.http.json_filters import read_name
from taskflow.http.media_types import MERGE_PATCH, merged_fields_of, patch_types_of
from taskflow.http.parsing import StrictParser
from taskflow.http.preconditions import DRY_RUN, SAFE, etag_of, has_body, is_current
from taskflow.http.request import Request
from taskflow.http.responses import add_read_etag, not_modified, prepare_response
from taskflow.http.schema import is_boolean, is_unstorable
from taskflow.http.validation import problem_of_request, suggest

# The same few callables authenticate each request.
operation.is_async_callable = cache(operation.is_async_callable)  # type: ignore[attr-defined]


def refuse_ignored_input(run: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Refuse unknown query parameters, bodies where none is read, and chunked bodies.

    Ninja would ignore each of them. A misspelled filter would then return all rows, and a DELETE
    with the body {"dry_run": true} would delete.
    """
    bound: Operation = run.__self__  # type: ignore[attr-defined]  # ninja passes the bound method
    parameters = _query_parameters(bound)
    takes_body = _takes_body(bound)
    merged_fields = merged_fields_of(bound)
    booleans = _boolean_parameters(bound)
    operation_id = bound.view_func.__name__

    def checked(request: Request, **kwargs: object) -> HttpResponse:
        request.operation_id = operation_id
        if refusal := _problem_of_chunked_body(request):
            return refusal.as_response(request)
        if any(isinstance(part, str) and is_unstorable(part) for part in kwargs.values()):
            return problem_of_status(404).as_response(request)
        if not takes_body and has_body(request):
            return _unexpected_body(request, parameters).as_response(request)
        if request.META.get("QUERY_STRING") and (
            unknown := _unknown_parameters(request.GET, parameters)
        ):
            hint = suggest(unknown[0], parameters) or " It has none."
            detail = f"“{unknown[0]}” is not a parameter of this operation.{hint}"
            problem = Invalid.parameter(unknown[0], detail, "unknown_parameter")
            return problem.as_response(request)
        if takes_body and request.body_options:
            try:
                move_body_options(request, parameters)
            except Invalid as problem:
                return problem.as_response(request)
        request.boolean_parameters = booleans
        if request.content_type == MERGE_PATCH and request.method == "PATCH":
            request.merged_fields = merged_fields
        return run(request, **kwargs)

    return checked


def _unknown_parameters(names: Iterable[str], known: Collection[str]) -> list[str]:
    """Return the names that are not in `known`, in order. `metadata.sprint` is one of metadata."""
    unknown = {name for name in names if name not in known}
    return sorted(n for n in unknown if (parsed := read_name(n)) is None or parsed[0] not in known)


def read_only(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """Refuse other methods than GET, and bodies, in views that are not operations.

    They would ignore both.
    """

    def checked(request: Request, **kwargs: object) -> HttpResponse:
        if request.method != "GET":  # the middleware makes HEAD a GET
            return HttpResponseNotAllowed(["GET"])
        refusal = _problem_of_chunked_body(request)
        if refusal is None and has_body(request):
            refusal = _unexpected_body(request, frozenset())
        return refusal.as_response(request) if refusal else view(request, **kwargs)

    return checked


def _problem_of_chunked_body(request: Request) -> Problem | None:
    if request.META.get("HTTP_TRANSFER_ENCODING"):  # the server passes on an empty body
        return LengthRequired("Send the body with a Content-Length. Chunked bodies are not read.")
    return None


def _query_parameters(operation: Operation) -> frozenset[str]:
    """Return the names of all query parameters of an operation."""
    names = {
        name
        for model in operation.models
        if model.__ninja_param_source__ == "query"
        for name in getattr(model, "__ninja_flatten_map__", {})
    }
    declared = (operation.openapi_extra or {}).get("parameters", ())
    names |= {parameter["name"] for parameter in declared if parameter["in"] == "query"}
    return frozenset(names | ({DRY_RUN} if _accepts_preconditions(operation) else set()))


def _boolean_parameters(operation: Operation) -> frozenset[str]:
    """Return the names of the query parameters that are true or false, without dry_run."""
    return frozenset(
        name
        for model in operation.models
        if model.__ninja_param_source__ == "query"
        for name, path in getattr(model, "__ninja_flatten_map__", {}).items()
        if is_boolean(_annotation_at(model, path))
    )


def _annotation_at(model: type[BaseModel], path: Sequence[str]) -> Any:
    """Return the type of the field that a path of names leads to."""
    annotation: Any = model
    for name in path:
        annotation = annotation.model_fields[name].annotation
    return annotation


def _takes_body(operation: Operation) -> bool:
    """Return whether an operation declares a body, as a parameter or in openapi_extra."""
    if any(model.__ninja_param_source__ in BODY_SOURCES for model in operation.models):
        return True
    return "requestBody" in (operation.openapi_extra or {})


def _unexpected_body(request: Request, parameters: frozenset[str]) -> Problem:
    """Return the problem of a body that would be ignored. For a write it names the parameters."""
    detail = "This operation takes no body. Send the request without one"
    if request.method not in SAFE and parameters:
        options = " and ".join(f"?{name}=true" for name in sorted(parameters))
        detail += f". Its options are query parameters: {options}"
    return Invalid(f"{detail}.", code="unexpected_body")


def _accepts_preconditions(operation: Operation) -> bool:
    """Return whether an operation is a write that needs credentials."""
    return bool(operation.auth_callbacks) and not SAFE.issuperset(operation.methods)


class Encoder(DjangoJSONEncoder):
    """Writes timestamps in UTC with microseconds, as in responses that the database builds."""

    def default(self, value: object) -> object:
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        return super().default(value)


class Renderer(JSONRenderer):
    encoder_class = Encoder


class Api(NinjaAPI):
    """Ninja's API with strict input, ETags, and an OpenAPI document that is complete and valid.

    `error_codes` are the codes of problems by status, each with a sentence that says when it comes.
    `path_examples` are values of path parameters, by name, that exist on the demo. `minimal_rows`
    are the response schemas that `Prefer: return=minimal` leaves out.
    """

    def __init__(
        self,
        *,
        error_codes: Mapping[int, Mapping[str, str]] | None = None,
        path_examples: Mapping[str, object] | None = None,
        minimal_rows: Collection[str] = (),
        **kwargs: Any,
    ) -> None:
        self.error_codes, self.path_examples = error_codes or {}, path_examples or {}
        self.minimal_rows = minimal_rows
        self.collections: set[str] = set()  # the first part of the paths of each router
        super().__init__(parser=StrictParser(), renderer=Renderer(), **kwargs)
        self.add_decorator(refuse_ignored_input, mode="view")
        self.add_decorator(self.add_etag)

    def add_router(self, prefix: str, router: Router | str, **options: Any) -> None:
        if prefix:  # ninja mounts its default router at ""
            self.collections.add(prefix.strip("/"))
        super().add_router(prefix, router, **options)

    @property
    def urls(self) -> tuple[list[URLResolver | URLPattern], str, str]:
        """The URLs. The view of each has the Accept-Patch of its path, for OPTIONS, and the ids of
        its operations by method, for the log.
        """
        urls, app_name, namespace = super().urls
        operations = {self.get_openapi_operation_id(o): o for o in self.list_operations()}
        attributes: dict[str, dict[str, Any]] = {}  # of views, by route
        for url in urls:
            if isinstance(url, URLPattern) and (operation := operations.get(url.name or "")):
                view = attributes.setdefault(str(url.pattern), {"operation_ids": {}})
                view["operation_ids"] |= dict.fromkeys(operation.methods, url.name)
                if types := patch_types_of(operation):
                    view["accept_patch"] = types
        for url in urls:
            for name, value in attributes.get(str(url.pattern), {}).items():
                setattr(url.callback, name, value)
        return urls, app_name, namespace

    def list_operations(self) -> list[Operation]:
        """Return the operations of all routers."""
        return [
            operation
            for router in self._get_bound_routers()
            for path_view in router.path_operations.values()
            for operation in path_view.operations
        ]

    def add_etag(self, view: Callable[..., object]) -> Callable[..., object]:
        """Decorator of API functions. The response gets the ETag of the row that they return.

        A read gets 304 if its If-None-Match contains that ETag.
        """

        @wraps(view)
        def view_with_etag(request: Request, *args: object, **kwargs: object) -> object:
            result = view(request, *args, **kwargs)
            row = result.value if isinstance(result, Status) else result
            if not (isinstance(row, Model) and hasattr(row, "version")):
                return result
            etag = etag_of(row)
            if request.method in SAFE and is_current(request, etag):
                return not_modified(etag)
            request.etag = etag
            return result

        return view_with_etag

    def validation_error_from_error_contexts(
        self, error_contexts: list[ValidationErrorContext[Any]]
    ) -> NoReturn:
        """Raise the problem of all refused values, in place of ninja's own error."""
        raise problem_of_request(
            (context.model.__ninja_param_source__, context.pydantic_validation_error, context.model)
            for context in error_contexts
        )

    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        """Return the response that ninja begins with; respond() uses it too."""
        assert isinstance(request, Request)
        return prepare_response(request)

    def create_response(self, request: HttpRequest, data: Any, **kwargs: Any) -> HttpResponse:
        """Return a response with the ETag of a single row and, for a new one, its Location.

        Another response of a read gets an ETag made of its body.
        """
        response = super().create_response(request, data, **kwargs)
        assert isinstance(request, Request)
        if request.etag is not None:
            response["ETag"] = request.etag
        elif request.method in SAFE:
            return add_read_etag(request, response)
        if response.status_code == 201 and "id" in data:
            response["Location"] = f"{self._collection(request.path)}/{data['id']}"
        return response

    def _collection(self, path: str) -> str:
        """Return where a row that is created at `path` can be read, without its id.

        A POST to /api/v1/projects/3/members creates /api/v1/members/7: the last part of the path
        that is the name of a router counts.
        """
        names = [part for part in path.split("/") if part in self.collections]
        return f"{path[: path.index(names[0])]}{names[-1]}"

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> Any:
        """Raises ImproperlyConfigured when two classes would share the name of a component."""
        if path_prefix is None:
            path_prefix = self.get_root_path(path_params or {})
        document = OpenApiDocument(self, path_prefix, self.path_examples)
        return complete_document(document, self.error_codes, self.minimal_rows)
