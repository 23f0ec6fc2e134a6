"""Find the changes that an undo has to leave out, so that no task blocks itself.

Leaving out one change can close the next circle: in a chain of blockers that was reversed and of
which one link must stay, every other link must stay too. So all of them are found in memory, before
anything is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from django.utils.translation import gettext_noop

from taskflow.audit.undo.plan import Obstacle, Plan, Reversal
from tasks.models import Task
from tasks.models.graph import Edges, find_circles, load_blocker_edges

Edge = tuple[int, int]  # from a task to its blocker


def find_circles_of_blockers(plan: Plan) -> list[Obstacle]:
    """Return the reversals that would close circles of blockers, as obstacles.

    Without the reversals that are returned, no circle is left. One query, or none if the plan adds
    no blocker.
    """
    reversals = {r.row.pk: r for r in plan.reversals_of(Task) if _blockers_of(r)}
    added = [(pk, target) for pk, r in reversals.items() for target in _added_by(r)]
    if not added:
        return []
    edges = load_blocker_edges({pk for edge in added for pk in edge} | reversals.keys())
    for pk, reversal in reversals.items():
        for target, is_linked in _blockers_of(reversal).items():
            _set_edge(edges, (pk, target), is_linked=is_linked)
    on_circles = find_circles(edges)
    return _Search(reversals, edges).run([edge for edge in added if {*edge} <= on_circles])


class _Search:
    """Leaves out reversals, and checks the links that stay because of it, until no circle is left.

    Each circle has a link that the plan adds, since the stored graph has no circle.
    """

    def __init__(self, reversals: dict[int, Reversal], edges: Edges) -> None:
        self.reversals, self.edges = reversals, edges
        self.obstacles: list[Obstacle] = []

    def run(self, to_check: list[Edge]) -> list[Obstacle]:
        while to_check:
            edge = to_check.pop()
            while added := self._find_added_edges(*edge):
                for pk in added:
                    to_check += self._leave_out(self.reversals.pop(pk))
        return self.obstacles

    def _find_added_edges(self, source: int, target: int) -> list[int]:
        """Return the tasks whose reversals add the edges of a circle through this edge."""
        return [
            pk
            for pk, blocker in self._find_circle(source, target)
            if pk in self.reversals and _blockers_of(self.reversals[pk]).get(blocker)
        ]

    def _leave_out(self, reversal: Reversal) -> list[Edge]:
        """Restore the present links of the task. Return those that the plan would have removed."""
        self.obstacles.append(
            reversal.obstacle("cycle", gettext_noop("The task would block itself."))
        )
        links = {(reversal.row.pk, pk): linked for pk, linked in _blockers_of(reversal).items()}
        for edge, is_linked in links.items():
            _set_edge(self.edges, edge, is_linked=not is_linked)
        return [edge for edge, is_linked in links.items() if not is_linked]

    def _find_circle(self, source: int, target: int) -> list[Edge]:
        """Return the edges of a circle through this edge; none if there is no circle."""
        if target not in self.edges.get(source, ()):
            return []
        came_from, waiting = {target: source}, [target]
        while waiting:
            pk = waiting.pop()
            if pk == source:
                return list(_edges_back(came_from, source))
            for blocker in self.edges.get(pk, ()):
                if blocker not in came_from:
                    came_from[blocker] = pk
                    waiting.append(blocker)
        return []


def _edges_back(came_from: dict[int, int], end: int) -> Iterator[Edge]:
    """Yield the edges of the circle on which the search has returned to `end`."""
    pk = end
    while True:
        yield came_from[pk], pk
        pk = came_from[pk]
        if pk == end:
            return


def _blockers_of(reversal: Reversal) -> dict[int, bool]:
    return {} if reversal.is_removed else reversal.links.get("blocked_by", {})


def _added_by(reversal: Reversal) -> Iterable[int]:
    return [pk for pk, is_linked in _blockers_of(reversal).items() if is_linked]


def _set_edge(edges: Edges, edge: Edge, *, is_linked: bool) -> None:
    if is_linked:
        edges[edge[0]].add(edge[1])
    else:
        edges[edge[0]].discard(edge[1])
