"""The tools of language models, in the order in which they are listed."""

from __future__ import annotations

from collections.abc import Mapping

from taskflow.mcp.tools.base import Tool
from taskflow.mcp.tools.claims import EXTEND_CLAIM, FINISH_TASK, NEXT_TASK
from taskflow.mcp.tools.events import LIST_EVENTS
from taskflow.mcp.tools.reading import FIND_TASKS, GET_TASK, SEARCH
from taskflow.mcp.tools.undo import UNDO
from taskflow.mcp.tools.writing import ADD_COMMENT, CREATE_TASKS, UPDATE_TASK

# A model chooses better among few tools, and pays for the list in every conversation: see
# test_mcp_tools.py for the limits.
TOOLS: Mapping[str, Tool] = {
    tool.name: tool
    for tool in (
        NEXT_TASK,
        EXTEND_CLAIM,
        FINISH_TASK,
        FIND_TASKS,
        GET_TASK,
        CREATE_TASKS,
        UPDATE_TASK,
        ADD_COMMENT,
        SEARCH,
        LIST_EVENTS,
        UNDO,
    )
}
