"""What an agent does with the tools, by the official client of MCP, in both eras of the protocol.

Run by mcp_client.py: `python session.py http://127.0.0.1:8000`.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import urllib.request
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp_types import ElicitResult, TextContent

ERAS = {"auto": "2026-07-28", "legacy": "2025-11-25"}


def sign_in(base: str) -> str:
    body = {"email": "ada@acme.example", "password": "taskflow-demo-2026"}
    request = urllib.request.Request(
        f"{base}/api/v1/auth/login",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return str(json.load(response)["token"])


async def text_of(client: Client, tool: str, **arguments: Any) -> str:
    """The text of a tool that succeeds."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


async def confirm(context: object, params: object) -> ElicitResult:
    """Tick the box of the form, as a user would."""
    return ElicitResult(action="accept", content={"confirm": True})


async def work(client: Client) -> str:
    """Create, retry, read, change, fail, and leave a request that can be undone; its id."""
    tools = [tool.name for tool in (await client.list_tools()).tools]
    assert {"find_tasks", "get_task", "create_tasks", "update_task", "undo"} <= set(tools), tools
    tasks = [{"title": "Try the tools", "assignee": "me", "priority": "high"}]
    key = str(uuid4())
    first, again = [
        await text_of(client, "create_tasks", project="WEB", tasks=tasks, idempotency_key=key)
        for _ in range(2)
    ]
    assert first == again
    (task,) = re.findall(r"^(WEB-\d+) todo high @ada", first, re.M)
    assert task in await text_of(client, "find_tasks", q="Try the tools")
    await text_of(client, "add_comment", task=task, body="Works.", idempotency_key=str(uuid4()))
    assert "> Works.\n" in await text_of(client, "get_task", task=task)
    refused = await client.call_tool("update_task", {"task": task, "status": "doing"})
    assert refused.is_error
    assert "[validation_failed]" in str(refused.content)
    changed = await text_of(client, "update_task", task=task, title="Changed")
    resource = await client.read_resource(f"task:{task}")
    assert "Changed" in str(resource.contents)
    await work_on_claim(client)
    assert "project:WEB" in str((await client.list_resources()).resources)
    assert (await client.list_resource_templates()).resource_templates
    return re.findall(r"request_id=(\S+)", changed)[0]


async def work_on_claim(client: Client) -> None:
    """Follow events, claim a task, extend the claim and finish it; the client checks the schemas
    of the structured answers.
    """
    (after,) = re.findall(r"after=(\S+)", await text_of(client, "list_events"))
    tasks = [{"title": "Claim this"}]
    created = await text_of(client, "create_tasks", project="WEB", tasks=tasks)
    (task,) = re.findall(r"^(WEB-\d+) ", created, re.M)
    claimed = await client.call_tool("next_task", {"task": task, "worker": "session.py"})
    claim = (claimed.structured_content or {})["claim"]
    await text_of(client, "extend_claim", claim=claim, progress=50)
    end = {"claim": claim, "outcome": "completed"}
    first, again = [await client.call_tool("finish_task", end) for _ in range(2)]
    assert first.structured_content == again.structured_content
    nothing = await client.call_tool("next_task", {"q": "words that no task has"})
    assert nothing.structured_content == {"claim": None}
    events = await text_of(client, "list_events", after=after, task=[task])
    assert "task.claimed" in events, events


async def undo_with_handle(client: Client, request_id: str) -> str:
    """Undo with two calls: the client cannot show a form, or its era has none."""
    plan = await text_of(client, "undo", request_id=request_id)
    (handle,) = re.findall(r"confirm=(\w+)", plan)
    return await text_of(client, "undo", request_id=request_id, confirm=handle)


async def undo_with_form(client: Client, request_id: str) -> str:
    """Undo with one call: the client shows the form of the plan in between."""
    return await text_of(client, "undo", request_id=request_id)


Undo = Callable[[Client, str], Awaitable[str]]


async def session(base: str, token: str, mode: str, undo: Undo, **options: Any) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        transport = streamable_http_client(f"{base}/mcp", http_client=http)
        async with Client(transport, mode=mode, **options) as client:
            assert client.protocol_version == ERAS[mode], client.protocol_version
            assert client.server_info is not None
            assert client.server_info.name == "taskflow"
            assert "data" in (client.instructions or "")
            done = await undo(client, await work(client))
            assert done.startswith("Undone: 1 change."), done


async def main(base: str) -> None:
    token = sign_in(base)
    await session(base, token, "auto", undo_with_handle)
    await session(base, token, "auto", undo_with_form, elicitation_callback=confirm)
    await session(base, token, "legacy", undo_with_handle)
    await session(base, token, "legacy", undo_with_handle, elicitation_callback=confirm)
    print(f"the official client of MCP: worked as {' and '.join(ERAS.values())}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
