"""A session as an agent would have it, and that no answer is ever too long."""

from __future__ import annotations

import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import token_of
from taskflow.mcp.results import MAX_ANSWER_LENGTH
from taskflow.mcp.tools import TOOLS
from taskflow.tests.mcp_client import McpClient, new_key

# Everything that JSON may contain, and some of what people and programs write.
WORDS = st.one_of(
    st.text(max_size=50),
    st.sampled_from(
        ["x" * 60_000, "\n" * 1000, "> " * 500, '"', "APO-1", "me", "@bob", "💥" * 500]
    ),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63 - 1) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)


def test_agent_works_from_discovery_to_undo(fixtures):
    """Read the tools, plan work, do it, say so, make a mistake, and take it back."""
    mcp = McpClient(token_of(fixtures.bot))
    assert "2026-07-28" in mcp.result("server/discover")["supportedVersions"]
    assert "create_tasks" in [tool["name"] for tool in mcp.result("tools/list")["tools"]]

    plan = [{"title": "Order fuel", "priority": "high", "assignee": "me"}, {"title": "Fill tank"}]
    key = new_key()
    created = mcp.text("create_tasks", project="APO", tasks=plan, idempotency_key=key)
    assert mcp.text("create_tasks", project="APO", tasks=plan, idempotency_key=key) == created
    mcp.text("update_task", task="APO-3", blocked_by=["APO-2"], idempotency_key=new_key())

    ready = mcp.text("find_tasks", assignee=["me"], ready=True, sort="-priority")
    assert ready == 'APO-2 todo high @bot "Order fuel"\n'
    assert "[open_work]" in mcp.refused("update_task", task="APO-3", status="done")

    mcp.text("update_task", task="APO-2", status="in_progress", idempotency_key=new_key())
    mcp.text("add_comment", task="APO-2", body="Ordered 3 t.", idempotency_key=new_key())
    mcp.text("update_task", task="APO-2", status="done", idempotency_key=new_key())
    assert mcp.text("find_tasks", ready=True, status="todo").startswith('APO-3 todo "Fill tank"')

    mistake = mcp.text("update_task", task="APO-1", title="Oops", idempotency_key=new_key())
    (request_id,) = re.findall(r"request_id=(\S+)", mistake)
    planned = mcp.text("undo", request_id=request_id)
    (handle,) = re.findall(r"confirm=(\w+)", planned)
    mcp.text("undo", request_id=request_id, confirm=handle, idempotency_key=new_key())
    assert 'APO-1 todo @ada "Launch"' in mcp.text("find_tasks")
    assert "> Ordered 3 t.\n" in mcp.text("get_task", task="APO-2")


@pytest.mark.slow
@pytest.mark.parametrize("tool", TOOLS)
def test_no_call_fails_and_no_answer_is_too_long(fixtures, tool):
    mcp = McpClient(token_of(fixtures.ada))
    names = st.sampled_from(sorted(TOOLS[tool].arguments))
    required = dict.fromkeys(TOOLS[tool].required, VALUES)
    references = {n: st.just("APO-1") | VALUES for n in required if n == "task"}

    @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.fixed_dictionaries(required | references), st.dictionaries(names, VALUES, max_size=3))
    def call(given_required, others):
        arguments = {**others, **given_required}
        r = mcp.send("tools/call", {"name": tool, "arguments": arguments})

        assert r.status_code in (200, 400), r.content[:500]
        if r.status_code == 400:  # JSON that no request of TaskFlow may contain
            assert r.json()["error"]["code"] == -32700
            return
        result = r.json()["result"]
        for content in result.get("content", []):
            assert len(content["text"]) <= MAX_ANSWER_LENGTH

    call()


@pytest.mark.slow
def test_answers_about_many_long_rows_are_bounded(fixtures):
    mcp = McpClient(token_of(fixtures.ada))
    tags = [f"tag {n} {'x' * 90}" for n in range(10)]
    long = {"title": "t" * 500, "description": "d" * 2000, "tags": tags, "blocked_by": ["APO-1"]}
    created = mcp.text("create_tasks", project="APO", tasks=[{**long, "parent": "APO-1"}] * 250)
    for _ in range(20):
        mcp.text("add_comment", task="APO-1", body="c" * 60_000)

    texts = [created, mcp.text("find_tasks", limit=200), mcp.text("search", q="ttt", limit=100)]
    texts += [mcp.text("get_task", task="APO-1"), mcp.text("get_task", task="APO-9")]
    texts.append(mcp.result("resources/read", {"uri": "task:APO-1"})["contents"][0]["text"])
    texts.append(mcp.text("undo", actor="me", since="2026-01-01T00:00:00Z"))

    assert max(map(len, texts)) <= MAX_ANSWER_LENGTH
    assert "More: cursor=" in texts[1]
    assert "More: get_task task=APO-1 offset=" in texts[3]
