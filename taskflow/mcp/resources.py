"""The resources: tasks and projects as Markdown, by their keys."""

from __future__ import annotations

from collections.abc import Mapping

from taskflow.audit.actor import ActorRequest
from taskflow.http.errors import InvalidCursor, NotFound, Problem
from taskflow.mcp.api_calls import ApiCalls, project_path, task_path
from taskflow.mcp.protocol import INVALID_PARAMS, Call, ProtocolError
from taskflow.mcp.results import bound_text
from taskflow.mcp.texts import quoted, task_text
from tasks.api.lines import cut, handle_of, project_line

MARKDOWN = "text/markdown"
PAGE_SIZE = 50
MAX_NAME_LENGTH = 255
OLD_NOT_FOUND = -32002  # of a resource, in the revisions with a handshake


def list_templates(request: ActorRequest, call: Call) -> Mapping[str, object]:
    """List the forms of the URIs."""
    return {
        "resourceTemplates": [
            _template("task", "Everything about a task, such as task:WEB-12."),
            _template("project", "A project with its open tasks, such as project:WEB."),
        ]
    }


def _template(name: str, description: str) -> Mapping[str, object]:
    return {
        "uriTemplate": f"{name}:{{key}}",
        "name": name,
        "description": description,
        "mimeType": MARKDOWN,
    }


def list_resources(request: ActorRequest, call: Call) -> Mapping[str, object]:
    """List the visible projects, a page at a time. Tasks are found with find_tasks."""
    cursor = call.params.get("cursor")
    query = {} if cursor is None else {"cursor": str(cursor)}
    try:
        page = ApiCalls(request).read(
            "/projects", limit=PAGE_SIZE, sort="key", fields="key,name", **query
        )
    except InvalidCursor as problem:
        raise ProtocolError(INVALID_PARAMS, problem.detail) from None
    resources = [
        {
            "uri": f"project:{project['key']}",
            "name": f"project:{project['key']}",
            "title": cut(str(project["name"]), MAX_NAME_LENGTH),
            "mimeType": MARKDOWN,
        }
        for project in page.rows()
    ]
    following = page.as_object()["next_cursor"]
    return {"resources": resources, **({"nextCursor": following} if following else {})}


def read_resource(request: ActorRequest, call: Call) -> Mapping[str, object]:
    """Return a task or a project as Markdown. Raises ProtocolError if there is none."""
    uri = call.text("uri")
    kind, _, key = uri.partition(":")
    try:
        text = _read(ApiCalls(request), kind, key)
    except Problem as problem:
        if problem.status >= 500:
            raise
        code = INVALID_PARAMS if call.is_stateless else OLD_NOT_FOUND
        raise ProtocolError(code, problem.detail, {"uri": uri[:MAX_NAME_LENGTH]}) from None
    return {"contents": [{"uri": uri, "mimeType": MARKDOWN, "text": bound_text(text)}]}


def _read(api: ApiCalls, kind: str, key: str) -> str:
    if kind == "task":
        task = api.read(task_path(key, "uri"), include="comments").as_object()
        return f"# {task['key']}\n\n{task_text(api.actor, task, '')}"
    if kind == "project":
        return _project_text(api, project_path(key))
    raise NotFound("A resource is task:WEB-12 or project:WEB.")


def _project_text(api: ApiCalls, path: str) -> str:
    project = api.read(path).as_object()
    tasks = api.read(
        "/tasks", project=project["key"], status_not="done", format="text", limit=PAGE_SIZE
    )
    description = str(project["description"])
    return (
        f"# {project['key']}\n\n{project_line(project)}\nOwner: {handle_of(project['owner'])}\n\n"
        + (f"Description, written by users:\n\n{quoted(description)}\n" if description else "")
        + f"## Open tasks\n\n{tasks.text}"
    )
