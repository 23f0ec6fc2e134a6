"""A client of POST /mcp for tests: it sends what the revision 2026-07-28 requires."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from django.test import Client

STATELESS = "2026-07-28"
META = "io.modelcontextprotocol/"


class McpClient:
    """Sends requests of MCP with one token. `capabilities` are those of the client."""

    def __init__(self, token: str = "", capabilities: dict[str, Any] | None = None) -> None:
        self.token, self.capabilities = token, capabilities or {}
        self.client = Client(raise_request_exception=False)

    def post(self, message: Any, headers: dict[str, str] | None = None, **kwargs: Any) -> Any:
        """Return the response to a message, or to a body that is given as a text."""
        sent = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        kwargs.setdefault("content_type", "application/json")
        return self.client.post(
            kwargs.pop("path", "/mcp"), message, headers={**sent, **(headers or {})}, **kwargs
        )

    def message(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        meta = {
            f"{META}protocolVersion": STATELESS,
            f"{META}clientInfo": {"name": "test", "version": "1"},
            f"{META}clientCapabilities": self.capabilities,
        }
        params = {**(params or {}), "_meta": meta}
        return {"jsonrpc": "2.0", "id": 7, "method": method, "params": params}

    def headers_for(self, method: str, params: dict[str, Any] | None = None) -> dict[str, str]:
        headers = {"MCP-Protocol-Version": STATELESS, "Mcp-Method": method}
        name = {"tools/call": "name", "resources/read": "uri"}.get(method)
        if name is not None:
            headers["Mcp-Name"] = str((params or {}).get(name, ""))
        return headers

    def send(
        self, method: str, params: dict[str, Any] | None = None, path: str = "/mcp", **headers: Any
    ) -> Any:
        """Return the response to a request. Headers with a dot are variables of the server."""
        variables = {name: headers.pop(name) for name in [*headers] if "." in name}
        sent = self.headers_for(method, params) | headers
        return self.post(self.message(method, params), sent, path=path, **variables)

    def result(self, method: str, params: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of a request that succeeds."""
        r = self.send(method, params)
        assert r.status_code == 200, r.content
        body = r.json()
        assert (body["jsonrpc"], body["id"]) == ("2.0", 7)
        assert "error" not in body, body
        result: dict[str, Any] = body["result"]
        return result

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the result of a tool."""
        return self.result("tools/call", {"name": tool, "arguments": arguments})

    def text(self, tool: str, **arguments: Any) -> str:
        """Return the text of a tool that succeeds."""
        result = self.call(tool, **arguments)
        assert result["isError"] is False, result
        (content,) = result["content"]
        assert content["type"] == "text"
        return str(content["text"])

    def refused(self, tool: str, **arguments: Any) -> str:
        """Return the text of a refused call."""
        result = self.call(tool, **arguments)
        assert result["isError"] is True, result
        return str(result["content"][0]["text"])


def new_key() -> str:
    """Return a new idempotency key."""
    return str(uuid4())
