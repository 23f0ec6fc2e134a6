"""What a set of changes to tasks has to know, asked once for all of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.recorder import lock_all, take_turns
from taskflow.db.query import QueryCache
from taskflow.db.statements import Among, Ids
from taskflow.http.errors import Conflict, Contended, Forbidden, Invalid
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Project, ProjectMember, Task, TaskBlocker
from tasks.models.graph import (
    Edges,
    blockers_behind,
    children_below,
    height,
    parents_above,
    reached,
)
from tasks.models.tasks import DEEPEST, MOST_TAGS, by_open_task

BOTH_DUE = Invalid.field("due_on", "Give due_date or due_on, not both.")


@with_tenant_parameter
def _members(project_ids: Any, user_ids: Any) -> Any:
    rows = ProjectMember.objects.filter(
        Among("project_id", project_ids), Among("user_id", user_ids)
    )
    return rows.values_list("project_id", "user_id")


MEMBERS = QueryCache(_members)


def check_tag_count(count: int, before: int = 0) -> None:
    """Raise Invalid when a change would give a task more tags than it may have.

    One that has more already, `before` the change, may lose some.
    """
    if count > max(MOST_TAGS, before):
        raise Invalid.field("tags", f"A task has at most {MOST_TAGS} tags.", "too_many")


def known(task: Task) -> int:
    """Its id; a number of its own while it has none."""
    return task.pk or -id(task)


class Facts:
    """Ask for a kind of fact with its ask_… function, in one or two statements for the whole set;
    afterwards the check_… functions raise what speaks against one change of it.
    """

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.mine: set[int] = set()  # projects the actor works in
        self.members: set[tuple[int, int]] = set()  # (project, user)
        self.above: Edges = {}
        self.below: Edges = {}
        self.behind: Edges = {}
        self.refs: dict[tuple[int, str], int] = {}  # (project, external_ref): its task
        self.subtasks: dict[int, list[Task]] = {}  # open ones, by what they keep from being done
        self.blockers: dict[int, list[Task]] = {}
        self.visible: set[int] = set()  # of these

    # ---- who works where ----

    def ask_memberships(self, projects: Iterable[Project], assignees: Iterable[User]) -> None:
        asked = {project.pk: project for project in projects}
        project_ids = sorted(asked)
        user_ids = {user.pk for user in assignees if not user.is_staff}
        if not self.actor.is_staff:
            me = self.actor.user.pk
            self.mine |= {pk for pk, project in asked.items() if project.shown_to == me}
            if not self.mine.issuperset(asked):
                user_ids.add(me)
        if not (project_ids and user_ids):
            return
        self.members |= set(
            MEMBERS.fetch((), Ids(tuple(project_ids)), Ids(tuple(sorted(user_ids))))
        )
        self.mine |= {p for p, user_id in self.members if user_id == self.actor.user.pk}

    def is_member(self, project: Project) -> bool:
        return self.actor.is_staff or project.pk in self.mine

    def check_member(self, project: Project) -> None:
        """Raise Forbidden unless the actor works in the project."""
        if not self.is_member(project):
            raise Forbidden(f"Only members of “{project.name}” may do this.")

    def can_see(self, user: User, project: Project) -> bool:
        return user.is_staff or (project.pk, user.pk) in self.members

    def check_assignee(self, user: User, project: Project) -> None:
        """He must be able to see the task."""
        if not user.is_active:
            raise Invalid.field("assignee_id", f"{user} is deactivated.")
        if not self.can_see(user, project):
            raise Invalid.field("assignee_id", f"{user} is not a member of “{project.name}”.")

    # ---- parents ----

    def lock_projects(self, projects: Iterable[Project]) -> None:
        """Before asking for trees and refs: two changes that are fine alone could close a circle
        together or take one ref twice, and a subtask added at this moment would be left behind.
        """
        lock_all(list({project.pk: project for project in projects}.values()))

    def ask_tree(self, parents: Sequence[Task], tops: Iterable[Task]) -> None:
        """What stands above the parents, and what hangs below the tops."""
        self._refuse_moved_parents(parents)
        self.above = parents_above(parent.pk for parent in parents)
        self.below = children_below(task.pk for task in tops)

    def _refuse_moved_parents(self, parents: Sequence[Task]) -> None:
        """Raise Contended unless they are still where they were read. Whoever moves or deletes a
        task holds the lock of its project, which is ours now.
        """
        if not parents:
            return
        rows = Task.objects.filter(pk__in=[parent.pk for parent in parents])
        stored = dict(rows.values_list("pk", "project_id"))
        if any(stored.get(parent.pk) != parent.project_id for parent in parents):
            raise Contended("A parent has been moved or deleted meanwhile. Send the request again.")

    def check_parent(self, task: Task, parent: Task) -> None:
        """Same project, no circle, at most five levels with what hangs below."""
        if parent.project_id != task.project_id:
            raise Invalid.field("parent_id", "A subtask is in its parent's project.")
        above = reached(self.above, [known(parent)])
        if known(task) in above:
            raise Conflict("A task cannot be below itself.", code="cycle")
        if len(above) + height(self.below, known(task)) > DEEPEST:
            raise Invalid.field(
                "parent_id", f"Subtasks go {DEEPEST} levels deep at most.", "too_deep"
            )

    def hang(self, task: Task, parent: Task | None) -> None:
        """Let the checks that follow know of this change."""
        self.above[known(task)] = {known(parent)} if parent else set()
        for children in self.below.values():
            children.discard(known(task))
        if parent:
            self.below.setdefault(known(parent), set()).add(known(task))

    # ---- blockers ----

    def ask_blockers(self, blockers: Sequence[Task]) -> None:
        """Wait for one's turn: two changes that are fine alone could close a circle together."""
        if not blockers:
            return
        take_turns(self.actor)
        self.behind = blockers_behind(task.pk for task in blockers)

    def check_blockers(self, task: Task, blockers: Sequence[Task]) -> None:
        """Raise Conflict when a blocker waits for the task itself."""
        if known(task) in reached(self.behind, [known(blocker) for blocker in blockers]):
            raise Conflict(
                "A task cannot wait for itself, nor for what waits for it.", code="cycle"
            )

    def block(self, task: Task, blockers: Sequence[Task]) -> None:
        """Let the checks that follow know of this change."""
        self.behind[known(task)] = {known(blocker) for blocker in blockers}
        self.blockers[task.pk] = [blocker for blocker in blockers if not blocker.completed]

    # ---- your own ids ----

    def ask_refs(self, wanted: Iterable[tuple[Project, str | None]]) -> None:
        """Who has these external_refs of these projects, the trash included."""
        pairs = {(project.pk, ref) for project, ref in wanted if ref is not None}
        if pairs:
            rows = Task.everything.filter(
                project__in=sorted({p for p, _ in pairs}),
                external_ref__in=sorted({r for _, r in pairs}),
            )
            for pk, project_id, ref in rows.values_list("pk", "project_id", "external_ref"):
                self.refs[project_id, str(ref)] = pk

    def check_ref(self, task: Task, project: Project, ref: str | None) -> None:
        """Raise Conflict when another task of the project has it."""
        if ref is not None and self.refs.get((project.pk, ref), known(task)) != known(task):
            raise Conflict(
                f"Another task of the project, maybe one in the trash, has external_ref “{ref}”.",
                code="taken",
            )

    def take_ref(self, task: Task, project: Project, ref: str | None) -> None:
        """Let the checks that follow know of this change."""
        if ref is not None:
            self.refs[project.pk, ref] = known(task)

    # ---- what is left to do ----

    def ask_open_work(self, tasks: Sequence[Task]) -> None:
        """What keeps these tasks from being done."""
        ids = [task.pk for task in tasks]
        if not ids:
            return
        unfinished = Task.objects.present().open().select_related("project")
        for subtask in unfinished.filter(parent__in=ids):
            self.subtasks.setdefault(subtask.parent_id or 0, []).append(subtask)
        links = TaskBlocker.objects.filter(by_open_task(), task__in=ids)
        for link in links.select_related("blocker__project").order_by("blocker"):
            self.blockers.setdefault(link.task_id, []).append(link.blocker)
        left = [t.pk for tasks in (*self.subtasks.values(), *self.blockers.values()) for t in tasks]
        if left:
            seen = Task.objects.visible_to(self.actor.viewer).filter(pk__in=left)
            self.visible = set(seen.values_list("pk", flat=True))

    def open_work(self, task: Task) -> list[tuple[str, Task]]:
        subtasks = [("subtask", t) for t in self.subtasks.get(task.pk, [])]
        return subtasks + [("blocker", t) for t in self.blockers.get(task.pk, [])]

    def check_completable(
        self, task: Task, done: set[int], *, blockers: Sequence[Task] | None = None
    ) -> None:
        """Raise Conflict with what is open below or before the task.

        `done` are about to be; `blockers` are those it gets by the same change.
        """
        work = self.open_work(task)
        if blockers is not None:
            work = [(what, t) for what, t in work if what == "subtask"]
            work += [("blocker", t) for t in blockers if not t.completed]
            self.visible |= {t.pk for t in blockers}
        left = [(what, t) for what, t in work if t.pk not in done]
        if left:
            raise Conflict(
                f"{task.key} has open subtasks or blockers. Complete them first, or pass"
                " force=true.",
                code="open_work",
                errors=[self._named(what, other) for what, other in left],
            )

    def _named(self, what: str, task: Task) -> dict[str, object]:
        """With its title only where the actor may see it: a blocker may be of another project."""
        named = f"{task.key} “{task.title}”" if task.pk in self.visible else f"task {task.pk}"
        detail = f"The {what} {named} is open."
        return {"code": f"open_{what}", "detail": detail, "task_id": task.pk}
