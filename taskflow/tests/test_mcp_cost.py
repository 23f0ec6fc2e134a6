"""How many statements the tools execute: as many as their requests to the API, and few more."""

from __future__ import annotations

import pytest

from conftest import token_of
from taskflow.tests.mcp_client import McpClient
from tasks.tests.factories import TaskFactory

# Of each call, with the query for the token. A savepoint is no statement on rows.
STATEMENTS = {
    ("find_tasks", ()): 2,
    ("get_task", (("task", "APO-1"),)): 5,
    ("search", (("q", "Launch"),)): 3,
    ("list_events", (("after", "0"),)): 7,
}


@pytest.mark.parametrize(("call", "count"), STATEMENTS.items(), ids=[c[0] for c in STATEMENTS])
def test_number_of_statements_does_not_depend_on_the_number_of_rows(
    fixtures, assert_statements, call, count
):
    tool, arguments = call
    mcp = McpClient(token_of(fixtures.ada))
    for n in range(5):
        TaskFactory(actor=fixtures.ada, project=fixtures.apollo, title=f"Launch {n}")
    mcp.text(tool, **dict(arguments))

    with assert_statements(count):
        mcp.text(tool, **dict(arguments))
