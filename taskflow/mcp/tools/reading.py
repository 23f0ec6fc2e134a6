"""The tools that read tasks."""

from __future__ import annotations

from taskflow.mcp.api_calls import ApiCalls, task_path
from taskflow.mcp.protocol import Call
from taskflow.mcp.results import ToolResult, page_of
from taskflow.mcp.texts import task_text
from taskflow.mcp.tools.base import Arguments, Tool, flag, number, number_of, text, texts
from tasks.api.lines import quote
from tasks.models import Priority, Project, Status
from tasks.queries.lookup import find_rows
from tasks.schemas.search import SearchKind
from tasks.schemas.task_filters import TaskFilters

# What find_tasks chooses itself, and a filter whose values are objects.
NOT_OFFERED = {"fields", "format", "include", "skip", "metadata", "metadata_not"}
MAX_SUBTASKS = 50  # in the answer of get_task
SEARCH_LIMIT = 20
MAX_SNIPPET = 200  # characters


def find_tasks(api: ApiCalls, arguments: Arguments, call: Call) -> ToolResult:
    """Return one line for each task of a page, and how to get the next one."""
    answer = api.read("/tasks", **{"limit": 50, **arguments}, format="text")
    return ToolResult(answer.text)


def get_task(api: ApiCalls, arguments: Arguments, call: Call) -> ToolResult:
    """Return everything about a task; a long text in parts."""
    offset = number_of(arguments, "offset") if "offset" in arguments else 0
    task = api.read(task_path(arguments["task"]), include="comments").as_object()
    subtasks = api.read("/tasks", parent=task["key"], format="text", limit=MAX_SUBTASKS).text
    lines = "" if subtasks.startswith("No ") else subtasks
    text_of_task = task_text(api.actor, task, lines.replace("More:", "More with find_tasks:"))
    how = f"get_task task={task['key']} offset={{}}"
    return ToolResult(page_of(text_of_task, offset, how))


def search(api: ApiCalls, arguments: Arguments, call: Call) -> ToolResult:
    """Return one line for each task, comment or page that contains the words."""
    skip = number_of(arguments, "skip") if "skip" in arguments else 0
    answer = api.read("/search", **{"limit": SEARCH_LIMIT, **arguments}).as_object()
    rows = answer["data"]
    assert isinstance(rows, list)
    projects = find_rows(api.actor, Project, {row["project_id"] for row in rows})
    lines = []
    for row in rows:
        project = projects.get(row["project_id"])
        place = row["key"] or (f"in {project.key}" if project else "")
        snippet = "".join(piece["text"] for piece in row["snippet"])
        title, found = quote(row["title"], MAX_SNIPPET), quote(snippet, MAX_SNIPPET)
        lines.append(f"{row['kind']} {place} {title}: {found}")
    if answer["has_more"]:
        lines.append(f"More: skip={skip + len(rows)}")
    return ToolResult("\n".join(lines or ["Nothing contains these words."]) + "\n")


FIND_TASKS = Tool(
    "find_tasks",
    "Find tasks",
    "List tasks, one line each: key, status, priority unless medium, @assignee, due, blocked,"
    ' [tags], "title". Filters combine; several values of one are alternatives. Every filter of'
    " GET /api/v1/tasks works, also with _not, as in status_not.",
    {
        "project": texts("Keys, such as WEB."),
        "status": texts(choices=list(Status)),
        "assignee": texts("@handle, me or none."),
        "priority": texts(choices=list(Priority)),
        "ready": flag("true: open and not blocked."),
        "tag": texts(),
        "parent": texts("Keys: their subtasks."),
        "q": text("Words in title or description."),
        "due_before": text("Day or time, as 2026-12-01."),
        "updated_since": text("Time, as 2026-12-01T09:00:00Z."),
        "sort": text("As -priority,due. Default: newest first."),
        "limit": number("Default 50.", minimum=1, maximum=200),
        "cursor": text("From the line More of the page before."),
    },
    find_tasks,
    is_reading=True,
    also_known=frozenset(TaskFilters.model_fields.keys() - NOT_OFFERED),
)
GET_TASK = Tool(
    "get_task",
    "Read a task",
    "Read everything about a task: fields, parent, blockers, subtasks, links, description and"
    " comments.",
    {
        "task": text("Key, such as WEB-12."),
        "offset": number("From the line More of the part before.", minimum=0),
    },
    get_task,
    required=["task"],
    is_reading=True,
)
SEARCH = Tool(
    "search",
    "Search texts",
    "Full-text search in tasks, comments and pages: all words must occur.",
    {
        "q": text('Words, or "a phrase".'),
        "kind": texts(choices=list(SearchKind)),
        "project": texts("Keys."),
        "limit": number(f"Default {SEARCH_LIMIT}.", minimum=1, maximum=100),
        "skip": number("From the line More.", minimum=0),
    },
    search,
    required=["q"],
    is_reading=True,
)
