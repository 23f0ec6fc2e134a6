"""The graphs of parents and of blockers, as edges from a task id to other task ids.

The load_… functions cost one statement each. All graphs include tasks in the trash, because a
restored task brings its edges back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from django.db import connection

from taskflow.tenancy import current_tenant_id
from tasks.models.tasks import Task, TaskBlocker

Edges = dict[int, set[int]]  # from a task id to the ids of its direct neighbours


def load_parent_edges(task_ids: Iterable[int]) -> Edges:
    """Return the edges from these tasks, and from the tasks above them, to their parents."""
    return _load_edges(Task._meta.db_table, "id", "parent_id", task_ids)


def load_subtask_edges(task_ids: Iterable[int]) -> Edges:
    """Return the edges from these tasks, and from the tasks below them, to their subtasks."""
    return _load_edges(Task._meta.db_table, "parent_id", "id", task_ids)


def load_blocker_edges(task_ids: Iterable[int]) -> Edges:
    """Return the edges from these tasks, and from the tasks that block them directly or not, to
    their blockers.
    """
    return _load_edges(TaskBlocker._meta.db_table, "task_id", "blocker_id", task_ids)


def find_reachable(edges: Edges, start: Iterable[int]) -> set[int]:
    """Return all ids that can be reached from `start`, with `start` itself."""
    reached, new = set(start), set(start)
    while new:
        new = {target for source in new for target in edges.get(source, ())} - reached
        reached |= new
    return reached


def find_circles(edges: Edges) -> set[int]:
    """Return the ids that lie on circles, or on paths from one circle to another.

    Linear in the number of edges: ids without an edge in one direction are removed until none is
    left.
    """
    remaining = set(edges) | {target for targets in edges.values() for target in targets}
    backwards: Edges = defaultdict(set)
    for source, targets in edges.items():
        for target in targets:
            backwards[target].add(source)
    for forth, back in ((edges, backwards), (backwards, edges)):
        counts = {pk: len(remaining & forth.get(pk, set())) for pk in remaining}
        ends = [pk for pk, count in counts.items() if not count]
        while ends:
            end = ends.pop()
            remaining.discard(end)
            for pk in back.get(end, ()):
                counts[pk] = counts.get(pk, 0) - 1
                if not counts[pk]:
                    ends.append(pk)
    return remaining


def count_levels(edges: Edges, start: int) -> int:
    """Return the number of levels of a tree from `start` down; 1 without children.

    The edges must not contain a circle.
    """
    return 1 + max((count_levels(edges, target) for target in edges.get(start, ())), default=0)


def _load_edges(table: str, source: str, target: str, start: Iterable[int]) -> Edges:
    """Follow the edges from the column `source` to the column `target`, beginning at `start`."""
    ids = sorted(set(start))
    edges: Edges = defaultdict(set)
    if not ids:
        return edges
    table = connection.ops.quote_name(table)
    tenant = current_tenant_id()
    placeholders = ", ".join(["%s"] * len(ids))
    sql = f"""
        WITH RECURSIVE edges(source, target) AS (
          SELECT {source}, {target} FROM {table}
          WHERE tenant_id = %s AND {source} IN ({placeholders}) AND {target} IS NOT NULL
          UNION
          SELECT link.{source}, link.{target}
          FROM {table} link JOIN edges ON link.{source} = edges.target
          WHERE link.tenant_id = %s AND link.{target} IS NOT NULL
        )
        SELECT source, target FROM edges
    """  # noqa: S608 - names of our own tables
    with connection.cursor() as cursor:
        cursor.execute(sql, [tenant, *ids, tenant])
        for source_id, target_id in cursor.fetchall():
            edges[source_id].add(target_id)
    return edges
