"""Where a client begins: the index of the API, and the guide for programs at /llms.txt."""

from __future__ import annotations

from pathlib import Path

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe
from ninja import Router
from pydantic import Field

from taskflow.http.schema import Out

API_VERSION = "1"
GUIDE = (Path(__file__).parent / "llms.txt").read_bytes()

index = Router(tags=["Index"])


class IndexResponse(Out):
    """The name of the API, and where to read more. All links are paths of this host."""

    name: str = Field(description="Always TaskFlow.")
    version: str = Field(description="The version of the API, as in its path.")
    documentation: str = Field(description="The documentation for people.")
    openapi: str = Field(description="The OpenAPI document.")
    guide: str = Field(description="A short guide for programs and agents.")
    health: str = Field(description="Whether requests can be served.")


@index.get("", response=IndexResponse, auth=None)
def get_index(request: HttpRequest) -> dict[str, str]:
    """Get the name and version of the API, and links to its documents. Needs no credentials."""
    return {
        "name": "TaskFlow",
        "version": API_VERSION,
        "documentation": "/api/v1/docs",
        "openapi": "/api/v1/openapi.json",
        "guide": "/llms.txt",
        "health": "/readyz",
    }


@require_safe
def llms_txt(request: HttpRequest) -> HttpResponse:
    """Return the guide for programs: https://llmstxt.org"""
    return HttpResponse(GUIDE, content_type="text/plain; charset=utf-8")
