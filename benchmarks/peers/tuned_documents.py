"""The documents and events of the tuned stack, from plain rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from fastapi import Response
from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncConnection

from benchmarks.peers.tuned_statements import BLOCKERS, TAGS, TASK_FIELDS, USER_FIELDS, T, U


def answer(document: Any, status: int = 200) -> Response:
    body = orjson.dumps(document, option=orjson.OPT_UTC_Z)
    return Response(body, status, media_type="application/json")


def user_ref(values: Sequence[Any]) -> dict[str, Any] | None:
    return None if values[0] is None else dict(zip(USER_FIELDS, values, strict=True))


def task_document(
    row: Row[Any], tags: list[dict[str, Any]], blockers: list[tuple[int, str]]
) -> dict[str, Any]:
    document = dict(zip(TASK_FIELDS, row, strict=False))
    is_done = document["status"] == "done"
    document["key"] = f"{row[T]}-{document['number']}"
    document["completed"] = is_done
    document["ready"] = not is_done and all(status == "done" for _, status in blockers)
    document["assignee"] = user_ref(row[T + 1 : T + 1 + U])
    document["created_by"] = user_ref(row[T + 1 + U :])
    document["blocked_by"] = [pk for pk, _ in blockers]
    document["tags"] = tags
    return document


async def task_documents(
    connection: AsyncConnection, tenant_id: int, rows: Sequence[Row[Any]]
) -> list[dict[str, Any]]:
    named = {"tenant": tenant_id, "ids": [row[0] for row in rows]}
    tags_of: dict[int, list[dict[str, Any]]] = {pk: [] for pk in named["ids"]}
    blockers_of: dict[int, list[tuple[int, str]]] = {pk: [] for pk in named["ids"]}
    if rows:
        for task_id, pk, name, color in await connection.execute(TAGS, named):
            tags_of[task_id].append({"id": pk, "name": name, "color": color})
        for task_id, pk, status in await connection.execute(BLOCKERS, named):
            blockers_of[task_id].append((pk, status))
    return [task_document(row, tags_of[row[0]], blockers_of[row[0]]) for row in rows]


def page_document(data: list[dict[str, Any]], has_more: bool) -> dict[str, Any]:
    next_cursor = str(data[-1]["id"]) if has_more else None
    return {"data": data, "next_cursor": next_cursor, "has_more": has_more, "count": None}


def born(row: Mapping[str, Any]) -> dict[str, list[Any]]:
    fields = ("project_id", "number", "title", "description", "status", "priority", "assignee_id")
    return {name: [None, row[name]] for name in fields}


def event_values(
    user_id: int,
    task_id: int,
    row: Mapping[str, Any],
    verb: str,
    changes: dict[str, list[Any]],
    timestamp: datetime,
) -> dict[str, Any]:
    return {
        "tenant_id": row["tenant_id"],
        "actor_id": user_id,
        "via": "api",
        "request_id": "",
        "reason": "",
        "verb": verb,
        "subject_type": "task",
        "subject_id": task_id,
        "version": row["version"],
        "project_id": row["project_id"],
        "changes": changes,
        "created_at": timestamp,
    }


def count_of(status: str, outcome: str | None) -> str:
    """Return the stored count of a project that contains a task with this status and outcome."""
    return "cancelled" if outcome == "cancelled" else status
