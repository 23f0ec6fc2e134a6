"""/.well-known/oauth-protected-resource (RFC 9728): how a client of /mcp shows who it is."""

from __future__ import annotations

from django.http import HttpRequest, JsonResponse
from django.views.decorators.http import require_safe

from taskflow.audit.actor import TokenScope
from taskflow.http.bodies import MCP_PATH

PATH = "/.well-known/oauth-protected-resource"


def metadata_url(request: HttpRequest) -> str:
    """Return the URL of the metadata about /mcp, on the host of the request."""
    return f"{request.scheme}://{request.get_host()}{PATH}{MCP_PATH}"


@require_safe
def protected_resource(request: HttpRequest) -> JsonResponse:
    """Return the metadata. There is no authorization server: people create tokens in TaskFlow."""
    base = f"{request.scheme}://{request.get_host()}"
    return JsonResponse(
        {
            "resource": f"{base}{MCP_PATH}",
            "resource_name": "TaskFlow",
            "resource_documentation": f"{base}/llms.txt",
            "scopes_supported": list(TokenScope),
            "bearer_methods_supported": ["header"],
        }
    )
