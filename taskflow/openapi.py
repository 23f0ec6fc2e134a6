"""What django-ninja leaves open: parameters, versions, readable ids, documented errors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import wraps
from typing import Any, cast

from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from ninja import NinjaAPI, Status
from ninja.operation import Operation
from ninja.renderers import JSONRenderer
from ninja.responses import NinjaJSONEncoder
from ninja.schema import NinjaGenerateJsonSchema
from pydantic import MISSING

from taskflow.conditions import DRY_RUN, LONGEST_KEY, SAFE, etag_of, is_known
from taskflow.documents.reading import Found
from taskflow.documents.schema import JSON
from taskflow.errors import (
    CONTENT_TYPE,
    Invalid,
    LengthRequired,
    Problem,
    problem_of_status,
)
from taskflow.parsing import StrictParser
from taskflow.schema import is_unstorable

ERRORS = {
    400: ("BadRequest", "The request cannot be read."),
    401: ("Unauthenticated", "The credentials are missing, wrong, expired or revoked."),
    403: ("Forbidden", "You can see it, but may not do this."),
    404: ("NotFound", "It does not exist, or not for you."),
    409: ("Conflict", "It clashes with what is there."),
    412: ("PreconditionFailed", "It has changed since the version that If-Match names."),
    411: ("LengthRequired", "The body comes in chunks, without a Content-Length."),
    413: ("TooLarge", "The body is larger than 1 MiB."),
    415: ("UnsupportedMedia", "The body is not application/json."),
    422: ("Invalid", "A field or parameter is not acceptable; `errors` says which."),
    503: ("Unavailable", "The database does not answer. Try again after Retry-After seconds."),
}


def refuse_what_would_be_ignored(run: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """A misspelt filter must not answer with everything, nor chunks pass for an empty body."""
    operation: Operation = run.__self__  # type: ignore[attr-defined]  # ninja hands us the bound run
    known = {
        name
        for model in operation.models
        if model.__ninja_param_source__ == "query"
        for name in getattr(model, "__ninja_flatten_map__", {})
    }
    if _takes_conditions(operation):
        known.add(DRY_RUN)

    def checked(request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if request.META.get("HTTP_TRANSFER_ENCODING"):  # the server hands such bodies on empty
            problem: Problem = LengthRequired("Send a Content-Length; chunks are not read.")
            return problem.as_response(request)
        if any(isinstance(part, str) and is_unstorable(part) for part in kwargs.values()):
            return problem_of_status(404).as_response(request)
        if unknown := sorted(request.GET.keys() - known):
            what = f"Known: {', '.join(sorted(known))}." if known else "There are none."
            problem = Invalid.parameter(
                unknown[0], f"“{unknown[0]}” is not a parameter here. {what}", "unknown_parameter"
            )
            return problem.as_response(request)
        return run(request, **kwargs)

    return checked


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
            row, status = (
                (result.value, result.status_code) if isinstance(result, Status) else (result, 200)
            )
            if isinstance(row, Found):
                return self._answer_document(request, row, status)
            if not (isinstance(row, Model) and hasattr(row, "version")):
                return result
            etag = etag_of(row)
            if request.method in SAFE and is_known(request, etag):
                return _not_modified(etag)
            request.etag = etag  # type: ignore[attr-defined]
            return result

        return compared

    def _answer_document(self, request: HttpRequest, found: Found, status: int) -> HttpResponse:
        if request.method in SAFE and "HTTP_IF_NONE_MATCH" in request.META:
            etag = found.etag()
            if is_known(request, etag):
                return _not_modified(etag)
        pk, etag, text = found.read()
        answer: HttpResponse = request.answer  # type: ignore[attr-defined]
        answer.content, answer.status_code = text, status
        answer["ETag"] = etag
        if status == 201:
            answer["Location"] = f"{self._collection(request.path)}/{pk}"
        return answer

    def create_temporal_response(self, request: HttpRequest) -> HttpResponse:
        """The response that ninja begins with; it serves for documents too."""
        answer = HttpResponse(content_type=JSON)
        request.answer = answer  # type: ignore[attr-defined]
        return answer

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

    def get_openapi_schema(self, **kwargs: Any) -> Any:
        document = cast(dict[str, Any], super().get_openapi_schema(**kwargs))
        _describe_errors(document)
        _name_put_apart(document)
        _drop_unused(document)
        return document


def _not_modified(etag: str) -> HttpResponse:
    answer = HttpResponse(status=304, headers={"ETag": etag})
    del answer["Content-Type"]  # of nothing
    return answer


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield path, method, operation


def _describe_errors(document: dict[str, Any]) -> None:
    components = document["components"]
    components["schemas"] |= {
        "Problem": PROBLEM,
        "FieldProblem": FIELD_PROBLEM,
        "DryRun": DRY_RUN_SCHEMA,
    }
    components["responses"] = {
        name: {
            "description": detail,
            "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
        }
        for name, detail in ERRORS.values()
    }
    for _path, method, operation in _operations(document):
        expected = {400, 404, 422, 503}  # 404 also when X-Tenant or host are not the token's
        expected |= {401, 403} if operation.get("security") else set()
        expected |= {409, 411} if method != "get" else set()
        if method != "get" and operation.get("security"):
            expected.add(412)
            _describe_conditions(operation)
        elif method == "get" and _is_of_one_row(document, operation):
            operation.setdefault("parameters", []).append(IF_NONE_MATCH)
            operation["responses"][304] = {"description": "It is as the ETag says that you know."}
        expected |= {413, 415} if "requestBody" in operation else set()
        for status in sorted(expected):
            ref = {"$ref": f"#/components/responses/{ERRORS[status][0]}"}
            operation["responses"].setdefault(status, ref)


def _describe_conditions(operation: dict[str, Any]) -> None:
    """ninja describes PATCH and PUT by one and the same dict: once is enough."""
    parameters = operation.setdefault("parameters", [])
    if IF_MATCH not in parameters:
        parameters += [DRY_RUN_PARAMETER, IDEMPOTENCY_KEY, IF_MATCH]
    if 200 not in operation["responses"]:
        operation["responses"][200] = DRY_RUN_RESPONSE


def _is_of_one_row(document: dict[str, Any], operation: dict[str, Any]) -> bool:
    content = operation["responses"].get(200, {}).get("content", {})
    ref = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    answered = document["components"]["schemas"].get(ref.rpartition("/")[2], {})
    return "version" in answered.get("properties", {})


def _name_put_apart(document: dict[str, Any]) -> None:
    for methods in document["paths"].values():
        if "put" in methods:  # ninja describes PATCH and PUT by one and the same dict
            name = methods["put"]["operationId"].replace("update_", "put_")
            methods["put"] = methods["put"] | {"operationId": name}


def _drop_unused(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    kept: set[str] = set()
    text = json.dumps([document["paths"], document["components"]["responses"]], default=str)
    while found := {n for n in schemas.keys() - kept if f'schemas/{n}"' in text}:
        kept |= found
        text += json.dumps([schemas[n] for n in found], default=str)
    for name in schemas.keys() - kept:
        del schemas[name]


FIELD_PROBLEM = {
    "type": "object",
    "title": "FieldProblem",
    "required": ["code", "detail"],
    "properties": {
        "pointer": {"type": "string", "description": "JSON pointer into the body."},
        "parameter": {"type": "string", "description": "Name of the query or path parameter."},
        "code": {"type": "string"},
        "detail": {"type": "string"},
        "yours": {"description": "412: what you sent."},
        "theirs": {"description": "412: what it is now."},
        "base": {"description": "412: what it was when you saw it."},
    },
}
PROBLEM = {
    "type": "object",
    "title": "Problem",
    "description": "RFC 9457 problem details.",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; meant for programs."},
        "detail": {"type": "string", "description": "One sentence that says what to do."},
        "errors": {"type": "array", "items": {"$ref": "#/components/schemas/FieldProblem"}},
        "request_id": {"type": ["string", "null"]},
    },
}


def _parameter(place: str, name: str, description: str, **schema: Any) -> dict[str, Any]:
    known = {"in": place, "name": name, "required": False}
    return known | {"schema": schema, "description": description}


DRY_RUN_PARAMETER = _parameter(
    "query",
    DRY_RUN,
    "Do it, with all rules and constraints, answer a DryRun, and take it back: no number, event or"
    " key is used up. Ids and times of the real call will be others.",
    type="boolean",
    default=False,
)
IDEMPOTENCY_KEY = _parameter(
    "header",
    "Idempotency-Key",
    "A new one for each write, the same for its retries: for 24 hours they get the first answer,"
    " with Idempotency-Replayed: true. Keys are per user. A refusal is not kept.",
    type="string",
    minLength=1,
    maxLength=LONGEST_KEY,
)
IF_MATCH = _parameter(
    "header",
    "If-Match",
    "The ETag that you have seen. 412 when others have changed since one of the fields that you"
    " set, with yours, theirs and base in `errors`; other fields merge.",
    type="string",
)
IF_NONE_MATCH = _parameter(
    "header", "If-None-Match", "The ETag that you have. 304 when it is still true.", type="string"
)
DRY_RUN_SCHEMA = {
    "type": "object",
    "title": "DryRun",
    "description": "What a write with dry_run=true would have done.",
    "required": ["dry_run", "status", "result", "event_count", "events"],
    "properties": {
        "dry_run": {"type": "boolean", "const": True},
        "status": {"type": "integer", "description": "That it would have answered."},
        "result": {"description": "What it would have answered.", "type": ["object", "null"]},
        "event_count": {"type": "integer"},
        "events": {
            "type": "array",
            "description": "What would have been recorded, the first 500.",
            "items": {"$ref": "#/components/schemas/EventResponse"},
        },
    },
}
DRY_RUN_RESPONSE = {
    "description": "With dry_run=true.",
    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/DryRun"}}},
}

_default_schema = NinjaGenerateJsonSchema.default_schema


def _schema_without_missing(self: NinjaGenerateJsonSchema, schema: Any) -> Any:
    """A field that may be absent has no default to show."""
    if schema.get("default") is MISSING:
        return self.generate_inner(schema["schema"])
    return _default_schema(self, schema)


NinjaGenerateJsonSchema.default_schema = _schema_without_missing  # type: ignore[method-assign]
