"""Checks responses against the OpenAPI document. The test client does so with each one it gets."""

from __future__ import annotations

import copy
import gzip
import json
import re
from collections import Counter
from functools import cache
from typing import Any

from django.http import HttpResponse
from django.urls import Resolver404
from jsonschema import Draft202012Validator
from jsonschema.protocols import Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from taskflow.api import api
from taskflow.http.errors import CONTENT_TYPE
from taskflow.tests.quick_schema import Accepts, QuickSchemas

DOCUMENT_URI = "urn:openapi"
PROBLEM = {"content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}
UNDESCRIBED = frozenset({"/api/v1/openapi.json", "/api/v1/docs"})
CONVERTER = re.compile(r"<(?:\w+:)?(\w+)>")


class BrokenContract(AssertionError):
    """A response does not match the OpenAPI document."""


class Contract:
    """The OpenAPI document, with two compiled forms of each schema of a response: a quick one, and
    a validator for what that one does not accept.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        self.document = document
        closed_document = closed(document)
        self.quick_schemas = QuickSchemas(closed_document["components"]["schemas"])
        self.accepts: dict[str, Accepts] = {}
        resource = Resource.from_contents(closed_document, default_specification=DRAFT202012)
        self.registry = Registry().with_resource(DOCUMENT_URI, resource)
        self.validators: dict[str, Validator] = {}
        self.validated: Counter[tuple[str, str]] = Counter()  # by operation and status

    def check(self, method: str, response: HttpResponse) -> None:
        """Raise BrokenContract if a response of the API does not match the document.

        Status, content type, declared headers and body are compared. Of addresses and methods that
        the document does not have, only problems may come.
        """
        path = template_of(response)
        if path == "/api/v1/":  # the index, which is documented without the slash
            path = "/api/v1"
        if path in UNDESCRIBED or method == "OPTIONS":  # preflights are the CORS middleware's
            return
        operations = self.document["paths"].get(path, {})
        verb = "get" if method == "HEAD" else method.lower()
        operation = operations.get(verb)
        status = str(response.status_code)
        place = f"{method} {path or '(no such address)'} {status}"
        if operation is None:
            known = PROBLEM if response.status_code >= 400 else None
        else:
            known = operation["responses"].get(status)
        if known is None:
            raise BrokenContract(f"{place} is not declared. Body: {response.content[:300]!r}")
        if "$ref" in known:
            known = self.document["components"]["responses"][known["$ref"].rpartition("/")[2]]
        self._check_headers(place, known, response)
        self._check_body(place, known, response, has_body=method != "HEAD")
        if operation is not None:
            self.validated[f"{verb.upper()} {path}", status] += 1

    def _check_headers(self, place: str, known: dict[str, Any], response: HttpResponse) -> None:
        headers = known.get("headers", {})
        expected = {name for name, header in headers.items() if self._is_required(header)}
        if response.status_code == 201 and "Dry-Run" not in response:
            expected |= {"ETag", "Location"} & headers.keys()
        missing = [name for name in expected if name not in response]
        if missing:
            raise BrokenContract(f"{place} has no header {', '.join(missing)}.")

    def _is_required(self, header: dict[str, Any]) -> bool:
        name = header.get("$ref", "").rpartition("/")[2]
        return (
            self.document["components"]["headers"][name]["required"]
            if name
            else header.get("required", False)
        )

    def _check_body(
        self, place: str, known: dict[str, Any], response: HttpResponse, *, has_body: bool
    ) -> None:
        content = known.get("content", {})
        media_type = response.get("Content-Type", "").partition(";")[0]
        if not content:
            if media_type or response.content:
                raise BrokenContract(f"{place} has a body of {media_type}, and none is declared.")
            return
        if media_type not in content:
            raise BrokenContract(f"{place} is {media_type or 'empty'}, not {' or '.join(content)}.")
        if has_body and media_type.endswith("json"):
            place = place if media_type == "application/json" else f"{place} {media_type}"
            self._check_json(place, content[media_type]["schema"], json.loads(body_of(response)))

    def _check_json(self, place: str, schema: dict[str, Any], body: Any) -> None:
        if place not in self.accepts:
            self.accepts[place] = self.quick_schemas.compile(closed(schema))
        if self.accepts[place](body):
            return
        error = next(self._validator(place, schema).iter_errors(body), None)
        if error is not None:
            raise BrokenContract(f"{place}: {error.json_path}: {error.message[:500]}")

    def _validator(self, place: str, schema: dict[str, Any]) -> Validator:
        if place not in self.validators:
            self.validators[place] = Draft202012Validator(
                absolute(closed(schema)),
                registry=self.registry,
                format_checker=Draft202012Validator.FORMAT_CHECKER,
            )
        return self.validators[place]


def body_of(response: HttpResponse) -> bytes:
    """Return the body of a response as it was before it was compressed."""
    is_compressed = response.get("Content-Encoding") == "gzip"
    return gzip.decompress(response.content) if is_compressed else response.content


@cache
def api_contract() -> Contract:
    """The contract of the API; its document is made when the first response is checked."""
    return Contract(api_document())


@cache
def api_document() -> dict[str, Any]:
    """The OpenAPI document as JSON. It takes half a second to make; do not change it."""
    document: dict[str, Any] = json.loads(json.dumps(api.get_openapi_schema()))
    return document


def template_of(response: Any) -> str | None:
    """Return the path template of the document, or None for a path without a route."""
    try:
        return _template(response.resolver_match.route)
    except Resolver404:
        return None


@cache
def _template(route: str) -> str:
    return "/" + CONVERTER.sub(r"{\1}", route)


def closed(node: Any) -> Any:
    """A copy in which objects have no properties but those that are declared.

    The document leaves them open, so that an old client takes a new field. What is meant to be
    open, as metadata is, declares no properties.
    """
    if isinstance(node, list):
        return [closed(item) for item in node]
    if not isinstance(node, dict):
        return copy.copy(node)
    copied = {key: closed(value) for key, value in node.items()}
    if node.get("type") == "object" and isinstance(node.get("properties"), dict):
        copied.setdefault("additionalProperties", False)
    return copied


def absolute(node: Any) -> Any:
    """A copy of a schema whose references name the document."""
    if isinstance(node, list):
        return [absolute(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        key: f"{DOCUMENT_URI}{value}" if key == "$ref" else absolute(value)
        for key, value in node.items()
    }
