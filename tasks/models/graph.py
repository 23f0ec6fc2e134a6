"""Graphs of parents and blockers. Each function reads its graph with one statement."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.db import connection

from taskflow.tenancy import current_tenant_id
from tasks.models.tasks import Task, TaskBlocker

Edges = dict[int, set[int]]  # from an id to the ids one step further


def load_parent_edges(task_ids: Iterable[int]) -> Edges:
    """Return the steps from these tasks up to their top parents, also in the trash."""
    return _walk(Task._meta.db_table, "id", "parent_id", task_ids)


def load_subtask_edges(task_ids: Iterable[int]) -> Edges:
    """Return the steps from these tasks down to their last subtasks, also in the trash."""
    return _walk(Task._meta.db_table, "parent_id", "id", task_ids)


def load_blocker_edges(task_ids: Iterable[int]) -> Edges:
    """Return the steps from these tasks to their blockers, and to the blockers of those, also in
    the trash.
    """
    return _walk(TaskBlocker._meta.db_table, "task_id", "blocker_id", task_ids)


def reached(edges: Edges, start: Iterable[int]) -> set[int]:
    """Return all ids that can be reached from `start`, with `start` itself."""
    found, new = set(start), set(start)
    while new:
        new = {there for here in new for there in edges.get(here, ())} - found
        found |= new
    return found


def height(edges: Edges, start: int) -> int:
    """Return the number of levels from `start` down, itself counted. There must be no circle."""
    return 1 + max((height(edges, there) for there in edges.get(start, ())), default=0)


def _walk(table: str, here: str, there: str, start: Iterable[int]) -> Edges:
    ids = sorted(set(start))
    found: Edges = defaultdict(set)
    if not ids:
        return found
    table = connection.ops.quote_name(table)
    tenant = current_tenant_id()
    marks = ", ".join(["%s"] * len(ids))
    sql = f"""
        WITH RECURSIVE walk(here, there) AS (
          SELECT {here}, {there} FROM {table}
          WHERE tenant_id = %s AND {here} IN ({marks}) AND {there} IS NOT NULL
          UNION
          SELECT step.{here}, step.{there} FROM {table} step JOIN walk ON step.{here} = walk.there
          WHERE step.tenant_id = %s AND step.{there} IS NOT NULL
        )
        SELECT here, there FROM walk
    """  # noqa: S608 - names of our own tables
    with connection.cursor() as cursor:
        cursor.execute(sql, [tenant, *ids, tenant])
        for one, other in cursor.fetchall():
            found[one].add(other)
    return found
