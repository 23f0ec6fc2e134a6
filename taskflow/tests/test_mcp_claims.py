"""The tools of a worker: claim the next task, extend the claim, finish it, follow events."""

from __future__ import annotations

import re

import pytest
from jsonschema import Draft202012Validator

from conftest import token_of
from taskflow.http.waiting import CAN_WAIT
from taskflow.mcp import endpoint
from taskflow.mcp.tools import TOOLS
from taskflow.tests.mcp_client import McpClient, new_key


@pytest.fixture
def bot(fixtures):
    """The agent, in whose project one task is free."""
    ada = McpClient(token_of(fixtures.ada))
    task = {"title": "Order fuel", "description": "3 t\n\nof hydrogen", "priority": "high"}
    ada.text("create_tasks", project="APO", tasks=[task])
    ada.text("add_comment", task="APO-2", body="Soon.")
    return McpClient(token_of(fixtures.bot))


def claimed(mcp, **arguments):
    """The structured answer of next_task, which its schema allows."""
    return structured(mcp, "next_task", **arguments)


def structured(mcp, tool, **arguments):
    result = mcp.call(tool, **arguments)
    assert result["isError"] is False, result
    Draft202012Validator(TOOLS[tool].output).validate(result["structuredContent"])
    return result["structuredContent"]


def test_next_task_has_everything_that_the_work_needs(bot):
    text = bot.text("next_task", worker="w1")

    lines = text.splitlines()
    assert re.fullmatch(r"Claim \d+ on APO-2 until \S+Z, attempt 1\.", lines[0])
    assert lines[1] == 'APO-2 in_progress high @bot "Order fuel"'
    assert 'Project: APO "Apollo"' in lines
    assert "Description, written by users:\n> 3 t\n> \n> of hydrogen\n" in text
    assert re.search(r"Comment of @ada \S+Z:\n> Soon\.\n", text)
    assert lines[-1].startswith("Next: work, with claim=")


def test_no_task_is_an_answer(bot):
    claimed(bot)

    assert structured(bot, "next_task") == {"claim": None}
    assert "There is no task" in bot.text("next_task")


def test_filters_select_the_next_task(bot):
    assert structured(bot, "next_task", project=["APO"], priority=["low"]) == {"claim": None}
    assert structured(bot, "next_task", q="fuel")["task"] == "APO-2"


def test_named_task_is_claimed(bot):
    assert claimed(bot, task="APO-2", ttl_seconds=60)["task"] == "APO-2"
    assert "must be the key of a task" in bot.refused("next_task", task="7")


def test_worker_works_from_claim_to_finish(bot, fixtures, as_):
    claim = claimed(bot, worker="w1", idempotency_key=new_key())["claim"]
    assert "[claimed]" in bot.refused("update_task", task="APO-2", title="x")

    extended = bot.text("extend_claim", claim=claim, progress=40, note="Called the supplier.")
    bot.text("update_task", task="APO-2", claim=claim, description="5 t")
    bot.text("add_comment", task="APO-2", claim=claim, body="Changed to 5 t.")
    finish = {"claim": claim, "outcome": "completed", "comment": "Done.", "result": {"pr": 17}}
    first, again = (structured(bot, "finish_task", **finish) for _ in range(2))

    assert extended.startswith(f"Claim {claim} holds until ")
    assert first == again
    assert (first["task"], first["status"]) == ("APO-2", "done")
    task = as_(fixtures.ada).get("/tasks/APO-2?include=comments").json()
    assert (task["status"], task["metadata"], task["description"]) == ("done", {"pr": 17}, "5 t")
    assert [c["body"] for c in task["comments"]["data"]] == ["Soon.", "Changed to 5 t.", "Done."]


def test_claim_that_is_lost_says_so(bot, fixtures, as_):
    claim = claimed(bot)["claim"]
    as_(fixtures.ada).delete(f"/claims/{claim}")

    for tool, arguments in (
        ("extend_claim", {}),
        ("finish_task", {"outcome": "completed"}),
        ("update_task", {"task": "APO-2", "title": "x"}),
    ):
        text = bot.refused(tool, claim=claim, **arguments)
        assert "[claim_lost]" in text
        assert "Next: Stop working on the task, and get another one with next_task." in text


def test_worker_learns_that_it_should_stop(bot, fixtures, as_):
    claim = claimed(bot)["claim"]
    as_(fixtures.ada).post(f"/claims/{claim}/cancellation")

    assert "Stop: somebody has asked for it." in bot.text("extend_claim", claim=claim)


def test_next_worker_reads_the_note_of_the_last_one(bot):
    claim = claimed(bot)["claim"]
    bot.text("extend_claim", claim=claim, note="Supplier is closed\nuntil Monday")
    bot.text("finish_task", claim=claim, outcome="released")

    text = bot.text("next_task")

    assert "> Supplier is closed\n> until Monday\n" in text


def test_retry_with_the_same_key_claims_one_task(bot, fixtures):
    ada = McpClient(token_of(fixtures.ada))
    ada.text("create_tasks", project="APO", tasks=[{"title": "Another"}])
    key = new_key()

    first, again = (claimed(bot, idempotency_key=key) for _ in range(2))

    assert first == again
    assert claimed(bot)["task"] != first["task"]


@pytest.mark.parametrize("claim", ["7", None, True, -1, 1.5, [1], 2**63])
def test_claim_that_is_no_number_is_refused(bot, claim):
    for tool, arguments in (("extend_claim", {}), ("finish_task", {"outcome": "released"})):
        r = bot.send("tools/call", {"name": tool, "arguments": {"claim": claim, **arguments}})
        assert r.status_code == 400 or r.json()["result"]["isError"] is True


def test_long_description_of_a_claimed_task_is_cut(bot, fixtures):
    McpClient(token_of(fixtures.ada)).text("update_task", task="APO-2", description="y" * 60_000)

    text = bot.text("next_task")

    assert len(text) < 6000
    assert "The description is cut: get_task task=APO-2 shows all of it.\n" in text


@pytest.mark.parametrize(
    ("tool", "arguments"), [("next_task", {"wait_seconds": 5}), ("list_events", {"wait": 5})]
)
@pytest.mark.parametrize("is_dry_run", [False, True])
def test_call_that_has_nothing_to_answer_waits_as_the_api_does(
    bot, waits, tool, arguments, is_dry_run
):
    claimed(bot)

    r = bot.send(
        "tools/call",
        {"name": tool, "arguments": arguments},
        path="/mcp?dry_run=true" if is_dry_run else "/mcp",
        **{CAN_WAIT: True},
    )

    assert r.json()["result"]["isError"] is False
    assert waits == ([] if is_dry_run else [5])


@pytest.fixture
def waits(monkeypatch):
    """A list of the seconds for which the requests to /mcp want to wait."""
    seconds = []
    original = endpoint.call_tool

    def call_tool(request, call):
        result = original(request, call)
        seconds.extend([request.wait.seconds] if request.wait else [])
        return result

    monkeypatch.setitem(endpoint.METHODS, "tools/call", call_tool)
    return seconds


# ---- events -------------------------------------------------------------------------------------


def test_events_are_followed_by_cursor(bot, fixtures):
    now = bot.text("list_events")
    (after,) = re.findall(r"^Next: after=(\S+)$", now, re.M)

    bot.text("add_comment", task="APO-1", body="Hello\nworld")
    bot.text("update_task", task="APO-1", title="New title")
    text = bot.text("list_events", after=after, task=["APO-1"])

    lines = text.splitlines()
    assert re.fullmatch(r"\S+Z comment\.created APO-1: bot \(@bot\) .*", lines[0]), lines[0]
    assert re.fullmatch(r"\S+Z task\.\w+ APO-1: .*", lines[1]), lines[1]
    assert lines[-1].startswith("Next: after=")
    assert len(lines) == 3


def test_page_of_events_that_is_full_names_the_next_one(bot):
    text = bot.text("list_events", after="0", limit=1)

    assert re.search(r"^More: after=\S+$", text, re.M)


def test_headers_that_choose_the_form_of_a_response_change_no_answer(bot):
    headers = {
        "Accept": "text/event-stream, application/json",
        "Prefer": "return=minimal",
        "Last-Event-ID": "x",
        "If-None-Match": "*",
    }
    tasks = {"project": "APO", "tasks": [{"title": "a"}]}
    for tool, arguments in (
        ("list_events", {"after": "0"}),
        ("create_tasks", tasks),
        ("update_task", {"task": "APO-1", "title": "b"}),
        ("add_comment", {"task": "APO-1", "body": "c"}),
        ("find_tasks", {}),
    ):
        r = bot.send("tools/call", {"name": tool, "arguments": arguments}, **headers)

        assert r.headers["Content-Type"] == "application/json"
        assert r.json()["result"]["isError"] is False, r.content


@pytest.mark.parametrize("who", ["eve", "mallory"])
def test_events_of_others_are_not_shown(fixtures, bot, who):
    other = McpClient(token_of(getattr(fixtures, who)))

    assert "APO" not in other.text("list_events", after="0")
