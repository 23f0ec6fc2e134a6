"""
Checks the contract as its users do: `make contract`.

Starts the product with the demo on SQLite in a temporary directory. The document that it serves is
validated by openapi-spec-validator, redocly and spectral. Then each of three generators writes a
client from it, and a program of about 60 lines works with that client: it signs in, lists with
filters, creates with keys and `me`, updates with If-Match, meets a conflict, tries a change, sends
a bulk request, searches, deletes and reads problem documents. A warning of a generator is a failure.
The official client of MCP works with the tools at /mcp, in both eras of the protocol,
and the library of Standard Webhooks verifies a delivery.

Without Node.js, the parts that need it are left out, which is reported; with CI set that fails.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import urllib.request
from pathlib import Path

from openapi_spec_validator import OpenAPIV31SpecValidator

from taskflow.tests.generated_client import mcp_client, nodejs, python_client, webhook_library
from taskflow.tests.server import demo_environment, free_port, serve, stop


def main() -> None:
    has_node = nodejs.is_installed()
    if not has_node and os.environ.get("CI"):
        sys.exit(f"Node.js was not found. CI needs it for {nodejs.PARTS}.")
    python_client.install()
    mcp_client.install()
    webhook_library.install()
    if has_node:
        nodejs.install()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        port = free_port()
        environment = demo_environment(directory / "data") | webhook_library.SETTINGS
        process = serve(port, environment, directory / "log")
        try:
            check(f"http://127.0.0.1:{port}", directory, has_node=has_node)
        finally:
            stop(process)
    if not has_node:
        print(f"Node.js was not found. Left out: {nodejs.PARTS}.")


def check(base: str, directory: Path, *, has_node: bool) -> None:
    """Check the document of the running server, and work with a client of each generator."""
    document = directory / "openapi.json"
    with urllib.request.urlopen(f"{base}/api/v1/openapi.json") as response:
        document.write_bytes(response.read())
    errors = [
        str(e) for e in OpenAPIV31SpecValidator(json.loads(document.read_text())).iter_errors()
    ]
    if errors:
        sys.exit("openapi-spec-validator:\n" + "\n".join(errors))
    print("openapi-spec-validator: the document is valid")
    python_client.run(document, base, directory)
    mcp_client.run(base)
    webhook_library.run(base)
    if has_node:
        nodejs.lint(document)
        nodejs.run(document, base)


if __name__ == "__main__":
    main()
