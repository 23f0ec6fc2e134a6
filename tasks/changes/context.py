"""What the rules of a set of changes to tasks read, loaded once for the whole set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from django.utils import timezone

from accounts.actions.locking import lock_users
from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.locks import LockMode, add_row_lock
from taskflow.audit.recorder import lock_all, serialize_graph_changes
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.http.errors import Conflict, Contended, Forbidden, Invalid
from taskflow.tenancy import with_tenant_parameter
from tasks.actions.tags import find_or_create_tags
from tasks.models import Project, ProjectMember, Tag, Task, TaskBlocker, TaskTag
from tasks.models.graph import (
    Edges,
    count_levels,
    find_reachable,
    load_blocker_edges,
    load_parent_edges,
    load_subtask_edges,
)
from tasks.models.tasks import MAX_TAGS, MAX_TASK_DEPTH, has_open_blocker
from tasks.rules import WRITERS

DUE_TWICE = Invalid.field("due_on", "Give due_date or due_on, not both.")


@with_tenant_parameter
def _members(project_ids: Any, user_ids: Any) -> Any:
    rows = ProjectMember.objects.filter(
        IsInIds("project_id", project_ids), IsInIds("user_id", user_ids)
    )
    return rows.values_list("project_id", "user_id", "role")


MEMBERS = QueryCache(_members)


@with_tenant_parameter
def _active_members(project_ids: Any, user_ids: Any) -> Any:
    """Locks the users, so that none of them is deactivated until the transaction ends."""
    users = User.objects.filter(
        IsInIds("pk", user_ids), IsInIds("memberships__project_id", project_ids)
    )
    rows = add_row_lock(users.order_by("pk"), LockMode.SHARE)
    return rows.values_list("memberships__project_id", "pk", "is_active")


ACTIVE_MEMBERS = QueryCache(_active_members)


def check_tag_count(count: int, before: int = 0) -> None:
    """Raise Invalid when a change would give a task more than MAX_TAGS tags.

    A task that has more already, `before` the change, may lose some.
    """
    if count > max(MAX_TAGS, before):
        raise Invalid.field("tags", f"A task has at most {MAX_TAGS} tags.", "too_many")


def get_graph_id(task: Task) -> int:
    """The id of a task in the graphs of parents and blockers; a new task has a negative one."""
    return task.pk or -id(task)


class Context:
    """What rules need to know besides the task itself.

    The load_… functions read it, each for all changes in one or two statements. Then the check_…
    functions raise what is wrong with one change, and note() makes the changes that follow see it.
    """

    def __init__(self, actor: Actor) -> None:
        self.actor = actor
        self.now = timezone.now()
        self.stored: Mapping[int, Mapping[str, Any]] = {}  # columns as locked, by task id
        self.done: set[int] = set()  # ids of tasks that are certain to be done at the end
        self.deleted: set[int] = set()  # ids of tasks that a change before has deleted
        self.writable_project_ids: set[int] = set()  # ids of projects that the actor is a member of
        self.members: set[tuple[int, int]] = set()  # (project id, user id)
        self.above: Edges = {}  # from a task to its parent
        self.below: Edges = {}  # from a task to its subtasks
        self.behind: Edges = {}  # from a task to its blockers
        self.refs: dict[tuple[int, str], int] = {}  # (project id, external_ref): task id
        self.subtasks: dict[int, list[Task]] = {}  # open ones, by the id of their parent
        self.blockers: dict[int, list[Task]] = {}  # open ones, by the id of the blocked task
        self.visible: set[int] = set()  # ids of those of them that the actor can see
        self.parents: dict[int, Task] = {}  # of tasks in the trash, by the id of the task
        self.tags: dict[str, Tag] = {}  # by the name that was sent
        self.tags_by_task: dict[int, dict[int, Tag]] = {}  # by task id and tag id

    # ---- members and assignees ----

    def lock_assignees(self, projects: Iterable[Project], assignees: Iterable[User]) -> None:
        """Lock and refresh users who are about to be given tasks, and load their memberships.

        Users are locked before projects.
        """
        users = {user.pk: user for user in assignees}
        if not users:
            return
        lock_users(user for user in users.values() if user.is_staff)
        others = tuple(sorted(pk for pk, user in users.items() if not user.is_staff))
        if not others:
            return
        project_ids = tuple(sorted({project.pk for project in projects}))
        for project_id, user_id, is_active in ACTIVE_MEMBERS.fetch(
            (), IdArray(project_ids), IdArray(others)
        ):
            self.members.add((project_id, user_id))
            users[user_id].is_active = is_active

    def load_memberships(self, projects: Iterable[Project], assignees: Iterable[User]) -> None:
        """Load in which of the projects the actor works, and which of them the users can see."""
        rows = {project.pk: project for project in projects}
        user_ids = {user.pk for user in assignees if not user.is_staff}
        if not self.actor.is_staff:
            own = self.actor.user.pk
            self.writable_project_ids |= {
                pk for pk, project in rows.items() if project.get_loaded_role(own) in WRITERS
            }
            if not self.writable_project_ids.issuperset(rows):
                user_ids.add(own)
        if not (rows and user_ids):
            return
        found = MEMBERS.fetch((), IdArray(tuple(sorted(rows))), IdArray(tuple(sorted(user_ids))))
        self.members |= {(project_id, user_id) for project_id, user_id, _role in found}
        own = self.actor.user.pk
        self.writable_project_ids |= {
            p for p, user_id, role in found if user_id == own and role in WRITERS
        }

    def is_member(self, project: Project) -> bool:
        return self.actor.is_staff or project.pk in self.writable_project_ids

    def check_member(self, project: Project) -> None:
        """Raise Forbidden unless the actor is a member of the project, or an administrator."""
        if not self.is_member(project):
            raise Forbidden(f"Only members of “{project.name}” may do this.")

    def can_see(self, user: User, project: Project) -> bool:
        return user.is_staff or (project.pk, user.pk) in self.members

    def check_assignee(self, user: User, project: Project) -> None:
        """Raise Invalid unless the user is active and can see tasks of the project."""
        if not user.is_active:
            raise Invalid.field("assignee_id", f"{user} is deactivated.")
        if not self.can_see(user, project):
            raise Invalid.field("assignee_id", f"{user} is not a member of “{project.name}”.")

    # ---- parents ----

    def lock_projects(self, projects: Iterable[Project]) -> None:
        """Lock the projects before trees and external_refs are loaded.

        Otherwise two changes that are allowed alone could close a circle of parents together, or
        use one external_ref twice, and a subtask that is added meanwhile would be left behind.
        """
        lock_all(list({project.pk: project for project in projects}.values()))

    def load_tree(self, parents: Sequence[Task], tops: Iterable[Task]) -> None:
        """Load the tasks above the parents and the subtasks below the tops."""
        self._check_parents_unmoved(parents)
        self.above = load_parent_edges(parent.pk for parent in parents)
        self.below = load_subtask_edges(task.pk for task in tops)

    def _check_parents_unmoved(self, parents: Sequence[Task]) -> None:
        """Raise Contended unless the parents are in the project that they were read in. Moving or
        deleting them needs the lock of that project, which this transaction holds now.
        """
        if not parents:
            return
        rows = Task.objects.filter(pk__in=[parent.pk for parent in parents])
        stored = dict(rows.values_list("pk", "project_id"))
        if any(stored.get(parent.pk) != parent.project_id for parent in parents):
            raise Contended("A parent has been moved or deleted meanwhile. Send the request again.")

    def load_parents(self, tasks: Iterable[Task]) -> None:
        """Load the parents of tasks, those in the trash too."""
        ids = {task.pk: task.parent_id for task in tasks if task.parent_id}
        if ids:
            rows = Task.everything.filter(pk__in=sorted(set(ids.values())))
            found = {row.pk: row for row in rows.select_related("project")}
            self.parents = {pk: found[parent_id] for pk, parent_id in ids.items()}

    def parent_of(self, task: Task) -> Task | None:
        """The parent of a task for which load_parents() was called."""
        return self.parents.get(task.pk)

    def check_parent(self, task: Task, parent: Task) -> None:
        """Raise unless the parent is in the same project, not below the task, and not too deep."""
        if parent.project_id != task.project_id:
            raise Invalid.field("parent_id", "A subtask is in its parent's project.")
        above = find_reachable(self.above, [get_graph_id(parent)])
        if get_graph_id(task) in above:
            raise Conflict("A task cannot be below itself.", code="cycle")
        if len(above) + count_levels(self.below, get_graph_id(task)) > MAX_TASK_DEPTH:
            raise Invalid.field(
                "parent_id", f"Subtasks go {MAX_TASK_DEPTH} levels deep at most.", "too_deep"
            )

    # ---- blockers ----

    def load_blockers(self, blockers: Sequence[Task]) -> None:
        """Load what the blockers are blocked by in turn.

        Serialized in the tenant: two changes that are allowed alone could close a circle together.
        """
        if not blockers:
            return
        serialize_graph_changes(self.actor)
        self.behind = load_blocker_edges(task.pk for task in blockers)

    def check_blockers(self, task: Task, blockers: Sequence[Task]) -> None:
        """Raise Conflict when the task blocks one of its blockers, directly or not."""
        if get_graph_id(task) in find_reachable(
            self.behind, [get_graph_id(blocker) for blocker in blockers]
        ):
            raise Conflict(
                "A task cannot wait for itself, nor for what waits for it.", code="cycle"
            )

    # ---- external_refs ----

    def load_external_refs(self, pairs: Iterable[tuple[Project, str | None]]) -> None:
        """Load which tasks of these projects have these external_refs, the trash included."""
        keys = {(project.pk, ref) for project, ref in pairs if ref is not None}
        if keys:
            rows = Task.everything.filter(
                project__in=sorted({p for p, _ in keys}),
                external_ref__in=sorted({r for _, r in keys}),
            )
            for pk, project_id, ref in rows.values_list("pk", "project_id", "external_ref"):
                self.refs[project_id, str(ref)] = pk

    def check_external_ref(self, task: Task, project: Project, ref: str | None) -> None:
        """Raise Conflict when another task of the project has the external_ref."""
        if ref is None:
            return
        if self.refs.get((project.pk, ref), get_graph_id(task)) != get_graph_id(task):
            raise Conflict(
                f"Another task of the project, maybe one in the trash, has external_ref “{ref}”.",
                code="taken",
            )

    # ---- tags ----

    def load_tags(self, names: Iterable[str]) -> None:
        """Find or create the tags of these names."""
        self.tags = find_or_create_tags(self.actor, names)

    def load_tags_by_task(self, tasks: Iterable[Task]) -> None:
        """Load the tags that the tasks have. The tasks must be locked."""
        self.tags_by_task = {task.pk: {} for task in tasks}
        if self.tags_by_task:
            links = TaskTag.objects.filter(task__in=list(self.tags_by_task))
            for link in links.select_related("tag"):
                self.tags_by_task[link.task_id][link.tag_id] = link.tag

    def tags_of(self, task: Task) -> dict[int, Tag]:
        """The tags of a task for which load_tags_by_task() was called, by id."""
        return self.tags_by_task[task.pk]

    def find_tags(self, names: Iterable[str]) -> list[Tag]:
        """The tags of these names, each once. load_tags() has found them."""
        return list({tag.pk: tag for tag in (self.tags[name] for name in names)}.values())

    # ---- open subtasks and blockers ----

    def load_open_work(self, tasks: Sequence[Task]) -> None:
        """Load the open subtasks and blockers of the tasks, which keep them from being done."""
        ids = [task.pk for task in tasks]
        if not ids:
            return
        unfinished = Task.objects.outside_trash().open().select_related("project")
        for subtask in unfinished.filter(parent__in=ids):
            self.subtasks.setdefault(subtask.parent_id or 0, []).append(subtask)
        links = TaskBlocker.objects.filter(has_open_blocker(), task__in=ids)
        for link in links.select_related("blocker__project").order_by("blocker"):
            self.blockers.setdefault(link.task_id, []).append(link.blocker)
        rows = [t.pk for found in (*self.subtasks.values(), *self.blockers.values()) for t in found]
        if rows:
            visible = Task.objects.visible_to(self.actor.viewer).filter(pk__in=rows)
            self.visible = set(visible.values_list("pk", flat=True))

    def open_work(self, task: Task) -> list[tuple[str, Task]]:
        """The open subtasks and blockers of a task, each with the word for what it is."""
        subtasks = [("subtask", t) for t in self.subtasks.get(task.pk, [])]
        return subtasks + [("blocker", t) for t in self.blockers.get(task.pk, [])]

    def check_no_open_work(self, task: Task, *, blockers: Sequence[Task] | None = None) -> None:
        """Raise Conflict, listing them, when subtasks or blockers of the task are open.

        Those that are certain to be done at the end do not count. `blockers` are the ones that the
        same change gives to the task; None if it gives none.
        """
        work = self.open_work(task)
        if blockers is not None:
            work = [(kind, t) for kind, t in work if kind == "subtask"]
            work += [("blocker", t) for t in blockers if not t.completed]
            self.visible |= {t.pk for t in blockers}
        open_tasks = [(kind, t) for kind, t in work if t.pk not in self.done]
        if open_tasks:
            raise Conflict(
                f"{task.key} has open subtasks or blockers. Complete them first, or pass"
                " force=true.",
                code="open_work",
                errors=[self._describe_open(kind, other) for kind, other in open_tasks],
            )

    def _describe_open(self, kind: str, task: Task) -> dict[str, object]:
        """With its title only if the actor may see it: a blocker may be in another project."""
        name = f"{task.key} “{task.title}”" if task.pk in self.visible else f"task {task.pk}"
        detail = f"The {kind} {name} is open."
        return {"code": f"open_{kind}", "detail": detail, "task_id": task.pk}

    # ---- changes that were planned ----

    def note(self, task: Task, values: Mapping[str, Any]) -> None:
        """Make the checks that follow see the new values of a task."""
        if "parent" in values:
            self._note_parent(task, values["parent"])
        if "blocked_by" in values:
            self.behind[get_graph_id(task)] = {
                get_graph_id(blocker) for blocker in values["blocked_by"]
            }
            open_blockers = [blocker for blocker in values["blocked_by"] if not blocker.completed]
            self.blockers[task.pk] = open_blockers
        if "tags" in values and task.pk in self.tags_by_task:
            self.tags_by_task[task.pk] = {tag.pk: tag for tag in values["tags"]}
        if values.get("external_ref") or "project" in values:
            project = values.get("project", task.project)
            ref = values.get("external_ref", task.external_ref)
            if ref is not None:
                self.refs[project.pk, ref] = get_graph_id(task)
        if values.get("deleted_at"):
            self.deleted.add(task.pk)

    def _note_parent(self, task: Task, parent: Task | None) -> None:
        self.above[get_graph_id(task)] = {get_graph_id(parent)} if parent else set()
        for children in self.below.values():
            children.discard(get_graph_id(task))
        if parent:
            self.below.setdefault(get_graph_id(parent), set()).add(get_graph_id(task))
