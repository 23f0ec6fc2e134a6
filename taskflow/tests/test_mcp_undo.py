"""The tool undo: it answers its plan first, and undoes exactly what was confirmed."""

from __future__ import annotations

import re

import pytest

from conftest import token_of
from taskflow.tests.mcp_client import McpClient, new_key

pytestmark = pytest.mark.one_database

FORM = {"confirmation": {"action": "accept", "content": {"confirm": True}}}


@pytest.fixture
def mcp(fixtures):
    return McpClient(token_of(fixtures.ada))


@pytest.fixture
def created(mcp):
    """The request id of a write that can be undone."""
    text = mcp.text("create_tasks", project="APO", tasks=[{"title": "a"}, {"title": "b"}])
    return request_id_in(text)


def request_id_in(text):
    (request_id,) = re.findall(r"undo request_id=(\S+)", text)
    return request_id


def handle_in(text):
    (handle,) = re.findall(r"add confirm=(\w+)", text)
    return handle


def answer_form(mcp, arguments, state, responses):
    """The result of the same call with the answer of the user."""
    params = {"name": "undo", "arguments": arguments}
    return mcp.result("tools/call", {**params, "inputResponses": responses, "requestState": state})


def test_first_call_answers_the_plan_and_changes_nothing(mcp, created, fixtures, events):
    count = len(events(fixtures.acme))

    text = mcp.text("undo", request_id=created)

    assert text.splitlines()[0] == "Plan: the undo would make 2 changes."
    assert "- APO-3: Ada (@ada) moved the task to the trash (undo)\n" in text
    assert "Nothing is undone yet." in text
    assert len(events(fixtures.acme)) == count


def test_handle_of_the_plan_undoes_it(mcp, created):
    handle = handle_in(mcp.text("undo", request_id=created))

    text = mcp.text("undo", request_id=created, confirm=handle)

    assert text.startswith("Undone: 2 changes.\n")
    assert "APO-2" not in mcp.text("find_tasks")
    plan = mcp.text("undo", request_id=request_id_in(text))
    assert "- APO-2: " in plan


def test_retry_with_the_same_key_answers_the_same(mcp, created, fixtures, events):
    arguments = {"request_id": created, "idempotency_key": new_key()}
    confirmed = {**arguments, "confirm": handle_in(mcp.text("undo", **arguments))}

    first = mcp.text("undo", **confirmed)
    count = len(events(fixtures.acme))

    assert mcp.text("undo", **confirmed) == first
    assert len(events(fixtures.acme)) == count


def test_handle_of_another_plan_undoes_nothing(mcp, created):
    other = request_id_in(mcp.text("update_task", task="APO-1", title="New"))
    handle = handle_in(mcp.text("undo", request_id=other))

    text = mcp.refused("undo", request_id=created, confirm=handle)

    assert "This is not the present plan, so nothing was undone." in text
    assert "APO-2" in mcp.text("find_tasks")


def test_plan_that_has_changed_meanwhile_is_not_carried_out(mcp, fixtures):
    ids = {"request_id": "both"}
    for title in ("first", "second"):
        params = {"name": "update_task", "arguments": {"task": "APO-1", "title": title}}
        mcp.send("tools/call", params, **{"X-Request-Id": "both"})
        if title == "first":
            handle = handle_in(mcp.text("undo", **ids))

    mcp.refused("undo", **ids, confirm=handle)

    assert "second" in mcp.text("find_tasks")


def test_handle_of_another_user_undoes_nothing(fixtures, mcp, created):
    boss = McpClient(token_of(fixtures.boss))
    arguments = {"request_id": created, "actor": "@ada"}
    handle = handle_in(boss.text("undo", **arguments))

    mcp.refused("undo", **arguments, confirm=handle)

    assert boss.text("undo", **arguments, confirm=handle).startswith("Undone")


def test_repeated_undo_with_its_handle_changes_nothing(mcp, created):
    handle = handle_in(mcp.text("undo", request_id=created))
    mcp.text("undo", request_id=created, confirm=handle)

    mcp.refused("undo", request_id=created, confirm=handle)


def test_refused_undo_lists_what_others_have_changed(mcp, created, fixtures):
    McpClient(token_of(fixtures.carl)).text("update_task", task="APO-2", title="Mine")

    text = mcp.refused("undo", request_id=created)

    assert "[cannot_undo]" in text
    assert "Carl (@carl) has changed it since" in text or "@carl" in text


@pytest.mark.parametrize("confirm", [5, None, True, ["x"]])
def test_handle_that_is_no_text_confirms_nothing(mcp, created, confirm):
    mcp.call("undo", request_id=created, confirm=confirm)

    assert "APO-2" in mcp.text("find_tasks")


# ---- clients that show forms --------------------------------------------------------------------


@pytest.mark.parametrize("capability", [{}, {"form": {}}])
def test_client_that_shows_forms_gets_one(fixtures, created, capability):
    mcp = McpClient(token_of(fixtures.ada), {"elicitation": capability})
    arguments = {"request_id": created}

    result = mcp.call("undo", **arguments)

    assert result["resultType"] == "input_required"
    request = result["inputRequests"]["confirmation"]
    assert request["method"] == "elicitation/create"
    assert request["params"]["message"].startswith("Plan: the undo would make 2 changes.\n")
    assert request["params"]["requestedSchema"]["required"] == ["confirm"]
    assert "APO-2" in mcp.text("find_tasks")
    done = answer_form(mcp, arguments, result["requestState"], FORM)
    assert done["resultType"] == "complete"
    assert done["content"][0]["text"].startswith("Undone: 2 changes.\n")


@pytest.mark.parametrize(
    "response",
    [
        {"action": "decline"},
        {"action": "cancel"},
        {"action": "accept"},
        {"action": "accept", "content": {"confirm": False}},
        {"action": "accept", "content": {"confirm": "true"}},
    ],
)
def test_user_who_does_not_confirm_keeps_everything(fixtures, created, response):
    mcp = McpClient(token_of(fixtures.ada), {"elicitation": {}})
    arguments = {"request_id": created}
    state = mcp.call("undo", **arguments)["requestState"]

    done = answer_form(mcp, arguments, state, {"confirmation": response})

    assert done["content"][0]["text"].startswith("Nothing was undone")
    assert "APO-2" in mcp.text("find_tasks")


def test_forged_state_undoes_nothing(fixtures, created):
    mcp = McpClient(token_of(fixtures.ada), {"elicitation": {}})

    done = answer_form(mcp, {"request_id": created}, "0" * 32, FORM)

    assert done["isError"] is True
    assert "APO-2" in mcp.text("find_tasks")


def test_client_with_forms_for_addresses_alone_gets_the_handle(fixtures, created):
    mcp = McpClient(token_of(fixtures.ada), {"elicitation": {"url": {}}})

    assert "confirm=" in mcp.text("undo", request_id=created)
