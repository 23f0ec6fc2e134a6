"""The rows that the checks of a set of task changes need, loaded once for the whole set."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from django.db.models import QuerySet
from django.utils.translation import gettext, gettext_noop

from accounts.actions.locking import lock_users
from accounts.models import User
from taskflow.audit.actor import Actor
from taskflow.audit.locks import LockMode, add_row_lock
from taskflow.audit.recorder import StoredColumns, lock_all, serialize_graph_changes
from taskflow.audit.values import FieldValues
from taskflow.db.query import QueryCache
from taskflow.db.statements import IdArray, IsInIds
from taskflow.db.types import Row
from taskflow.http.errors import Conflict, Forbidden, Invalid
from taskflow.http.unavailable import Contended
from taskflow.tenancy import with_tenant_parameter
from tasks.actions.tags import find_or_create_tags
from tasks.changes.numbers import NewNumbers
from tasks.changes.open_work import OpenWork
from tasks.models import Project, ProjectMember, Tag, Task, TaskTag
from tasks.models.graph import (
    Edges,
    count_levels,
    find_reachable,
    load_blocker_edges,
    load_parent_edges,
    load_subtask_edges,
)
from tasks.models.tasks import MAX_TAGS, MAX_TASK_DEPTH
from tasks.rules import WRITERS, require_unarchived

DUE_TWICE = Invalid.field("due_on", gettext_noop("Give due_date or due_on, not both."))
BLOCKER_CYCLE = Conflict(
    gettext_noop("A task cannot be blocked by itself, or by a task that it blocks."), code="cycle"
)


@with_tenant_parameter
def _memberships_query(project_ids: IdArray, user_ids: IdArray) -> QuerySet[ProjectMember, Row]:
    rows = ProjectMember.objects.filter(
        IsInIds("project_id", project_ids), IsInIds("user_id", user_ids)
    )
    return rows.values_list("project_id", "user_id", "role")


MEMBERSHIPS_QUERY = QueryCache(_memberships_query)


@with_tenant_parameter
def _locked_memberships_query(project_ids: IdArray, user_ids: IdArray) -> QuerySet[User, Row]:
    """Select memberships, and lock their users so that none is deactivated before the transaction
    ends.
    """
    users = User.objects.filter(
        IsInIds("pk", user_ids), IsInIds("memberships__project_id", project_ids)
    )
    rows = add_row_lock(users.order_by("pk"), LockMode.SHARE)
    return rows.values_list("memberships__project_id", "pk", "is_active")


LOCKED_MEMBERSHIPS_QUERY = QueryCache(_locked_memberships_query)


def check_tag_count(count: int, before: int = 0) -> None:
    """Raise Invalid if a change would give a task more than MAX_TAGS tags.

    `before` is the number of tags before the change: a task that already has more than MAX_TAGS
    may keep as many, or lose some.
    """
    if count > max(MAX_TAGS, before):
        raise Invalid.field(
            "tags", f"A task can have at most {MAX_TAGS} tags. Send fewer.", "too_many"
        )


def get_graph_id(task: Task) -> int:
    """Return the id of a task in the graphs of parents and blockers.

    A new task has no id yet, and gets a negative number that is unique in this process.
    """
    return task.pk or -id(task)


class Context(OpenWork):
    """Everything that the checks of task changes need besides the task itself.

    The load_… methods read rows for all changes, with one or two statements each. Then, change by
    change, the check_… methods raise a Problem if the change is not allowed, and add_planned()
    makes its values visible to the checks of later changes.
    """

    def __init__(self, actor: Actor) -> None:
        super().__init__(actor)
        self.now = datetime.now(UTC)
        # The locked columns as stored, by task id and column.
        self.stored: StoredColumns = {}
        self.deleted_ids: set[int] = set()  # tasks that an earlier change of the set deleted
        self.writable_project_ids: set[int] = set()  # projects in which the actor may write
        self.memberships: set[tuple[int, int]] = set()  # (project id, user id)
        self.parent_edges: Edges = {}
        self.subtask_edges: Edges = {}
        self.blocker_edges: Edges = {}
        # The id of the task that has an external_ref, by (project id, external_ref).
        self.external_refs: dict[tuple[int, str], int] = {}
        # The parents of tasks, those in the trash too, by the id of the task.
        self.parents: dict[int, Task] = {}
        self.numbers: NewNumbers | None = None  # if a new task keeps a number
        self.tags: dict[str, Tag] = {}  # by the name that was sent
        self.tags_by_task: dict[int, dict[int, Tag]] = {}  # by task id and tag id

    # ---- members and assignees ----

    def lock_assignees(self, projects: Iterable[Project], assignees: Iterable[User]) -> None:
        """Lock the new assignees of tasks, refresh them, and load their memberships.

        Call it before projects are locked, because every writer locks users first.
        """
        users = {user.pk: user for user in assignees}
        if not users:
            return
        lock_users(user for user in users.values() if user.is_staff)
        others = tuple(sorted(pk for pk, user in users.items() if not user.is_staff))
        if not others:
            return
        project_ids = tuple(sorted({project.pk for project in projects}))
        for project_id, user_id, is_active in LOCKED_MEMBERSHIPS_QUERY.fetch(
            (), IdArray(project_ids), IdArray(others)
        ):
            self.memberships.add((project_id, user_id))
            users[user_id].is_active = is_active

    def load_memberships(self, projects: Iterable[Project], assignees: Iterable[User]) -> None:
        """Load in which projects the actor may write and of which the users are members."""
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
        memberships = MEMBERSHIPS_QUERY.fetch(
            (), IdArray(tuple(sorted(rows))), IdArray(tuple(sorted(user_ids)))
        )
        self.memberships |= {(project_id, user_id) for project_id, user_id, _role in memberships}
        own = self.actor.user.pk
        self.writable_project_ids |= {
            p for p, user_id, role in memberships if user_id == own and role in WRITERS
        }

    def can_write(self, project: Project) -> bool:
        """Whether the actor may write in the project. load_memberships() must have loaded it."""
        return self.actor.is_staff or project.pk in self.writable_project_ids

    def check_can_write(self, project: Project) -> None:
        """Raise Forbidden unless the actor may write in the project, Conflict if it is archived."""
        if not self.can_write(project):
            raise Forbidden(
                gettext("Only members of “%(project)s” may do this.") % {"project": project.name}
            )
        require_unarchived(project)

    def can_see(self, user: User, project: Project) -> bool:
        """Whether the user can see the project. load_memberships() must have loaded both."""
        return user.is_staff or (project.pk, user.pk) in self.memberships

    def check_assignee(self, user: User, project: Project) -> None:
        """Raise Invalid unless the user is active and can see the project."""
        if not user.is_active:
            raise Invalid.field(
                "assignee_id",
                gettext("%(user)s is deactivated. Choose an active user.") % {"user": user},
            )
        if not self.can_see(user, project):
            raise Invalid.field(
                "assignee_id",
                gettext(
                    "%(user)s is not a member of “%(project)s”. Choose a member, or add the user to"
                    " the project first."
                )
                % {"user": user, "project": project.name},
            )

    # ---- parents ----

    def lock_projects(self, projects: Iterable[Project]) -> None:
        """Lock the projects. Call it before trees and external_refs are loaded.

        Without this lock, two transactions that are each allowed could together close a circle of
        parents or use one external_ref twice, and a subtask that is added at the same time would
        not be moved or deleted with its parent.
        """
        lock_all(list({project.pk: project for project in projects}.values()))

    def load_tree(self, parents: Sequence[Task], tops: Iterable[Task]) -> None:
        """Load the edges from the parents upwards and from the tasks in `tops` downwards."""
        self._check_parents_unmoved(parents)
        self.parent_edges = load_parent_edges(parent.pk for parent in parents)
        self.subtask_edges = load_subtask_edges(task.pk for task in tops)

    def _check_parents_unmoved(self, parents: Sequence[Task]) -> None:
        """Raise Contended unless the parents are still in the project that they were read in.

        This transaction holds the lock of that project, so that they stay in it from now on.
        """
        if not parents:
            return
        rows = Task.objects.filter(pk__in=[parent.pk for parent in parents])
        stored = dict(rows.values_list("pk", "project_id"))
        if any(stored.get(parent.pk) != parent.project_id for parent in parents):
            raise Contended(
                "Another request has moved or deleted a parent. Send the request again."
            )

    def load_parents(self, tasks: Iterable[Task]) -> None:
        """Load the parents of the tasks, also parents in the trash."""
        ids = {task.pk: task.parent_id for task in tasks if task.parent_id}
        if ids:
            rows = Task.everything.filter(pk__in=sorted(set(ids.values())))
            by_id = {row.pk: row for row in rows.select_related("project")}
            self.parents = {pk: by_id[parent_id] for pk, parent_id in ids.items()}

    def parent_of(self, task: Task) -> Task | None:
        """Return the parent of a task, or None. load_parents() must have loaded it."""
        return self.parents.get(task.pk)

    def check_parent(self, task: Task, parent: Task) -> None:
        """Raise Invalid or Conflict unless the task may become a subtask of the parent.

        The parent must be in the same project and not below the task, and the tree must not become
        deeper than MAX_TASK_DEPTH.
        """
        if parent.project_id != task.project_id:
            raise Invalid.field(
                "parent_id", gettext("A subtask must be in the project of its parent.")
            )
        above = find_reachable(self.parent_edges, [get_graph_id(parent)])
        if get_graph_id(task) in above:
            raise Conflict(
                gettext("A task cannot be a subtask of itself. Choose another parent."),
                code="cycle",
            )
        if len(above) + count_levels(self.subtask_edges, get_graph_id(task)) > MAX_TASK_DEPTH:
            raise Invalid.field(
                "parent_id",
                gettext("Subtasks can be at most %(limit)s levels deep.")
                % {"limit": MAX_TASK_DEPTH},
                "too_deep",
            )

    # ---- blockers ----

    def load_blockers(self, blockers: Sequence[Task]) -> None:
        """Load the edges from the new blockers to the tasks that block them, directly or not.

        Waits until no other transaction of the tenant changes the graph: two changes that are each
        allowed could close a circle together.
        """
        if not blockers:
            return
        serialize_graph_changes(self.actor)
        self.blocker_edges = load_blocker_edges(task.pk for task in blockers)

    def check_blockers(self, task: Task, blockers: Sequence[Task]) -> None:
        """Raise Conflict if the task blocks one of the blockers, directly or not."""
        if get_graph_id(task) in find_reachable(
            self.blocker_edges, [get_graph_id(blocker) for blocker in blockers]
        ):
            raise BLOCKER_CYCLE.copy()

    # ---- external_refs ----

    def load_external_refs(self, pairs: Iterable[tuple[Project, str | None]]) -> None:
        """Load which tasks of these projects have these external_refs, tasks in the trash too."""
        keys = {(project.pk, ref) for project, ref in pairs if ref is not None}
        if keys:
            rows = Task.everything.filter(
                project__in=sorted({p for p, _ in keys}),
                external_ref__in=sorted({r for _, r in keys}),
            )
            for pk, project_id, ref in rows.values_list("pk", "project_id", "external_ref"):
                self.external_refs[project_id, str(ref)] = pk

    def check_external_ref(self, task: Task, project: Project, ref: str | None) -> None:
        """Raise Conflict if another task of the project has the external_ref."""
        if ref is None:
            return
        if self.external_refs.get((project.pk, ref), get_graph_id(task)) != get_graph_id(task):
            raise Conflict(
                gettext(
                    "Another task of the project, maybe one in the trash, has external_ref"
                    " “%(ref)s”."
                )
                % {"ref": ref},
                code="taken",
            )

    # ---- tags ----

    def load_tags(self, names: Iterable[str]) -> None:
        """Find the tags with these names, and create those that do not exist."""
        self.tags = find_or_create_tags(self.actor, names)

    def load_tags_by_task(self, tasks: Iterable[Task]) -> None:
        """Load the tags of the tasks, which must be locked already."""
        self.tags_by_task = {task.pk: {} for task in tasks}
        if self.tags_by_task:
            links = TaskTag.objects.filter(task__in=list(self.tags_by_task))
            for link in links.select_related("tag"):
                self.tags_by_task[link.task_id][link.tag_id] = link.tag

    def tags_of(self, task: Task) -> dict[int, Tag]:
        """Return the tags of a task by id. load_tags_by_task() must have loaded them."""
        return self.tags_by_task[task.pk]

    def get_loaded_tags(self, names: Iterable[str]) -> list[Tag]:
        """Return the tags with these names, each once. load_tags() must have loaded them."""
        return list({tag.pk: tag for tag in (self.tags[name] for name in names)}.values())

    # ---- planned changes ----

    def add_planned(self, task: Task, values: FieldValues) -> None:
        """Make the new values of a task visible to the checks of later changes."""
        if "parent" in values:
            self._set_parent_edges(task, values["parent"])
        if "blocked_by" in values:
            self.blocker_edges[get_graph_id(task)] = {
                get_graph_id(blocker) for blocker in values["blocked_by"]
            }
            open_blockers = [blocker for blocker in values["blocked_by"] if not blocker.completed]
            self.open_blockers[task.pk] = open_blockers
        if "tags" in values and task.pk in self.tags_by_task:
            self.tags_by_task[task.pk] = {tag.pk: tag for tag in values["tags"]}
        if values.get("external_ref") or "project" in values:
            project = values.get("project", task.project)
            ref = values.get("external_ref", task.external_ref)
            if ref is not None:
                self.external_refs[project.pk, ref] = get_graph_id(task)
        if values.get("deleted_at"):
            self.deleted_ids.add(task.pk)

    def _set_parent_edges(self, task: Task, parent: Task | None) -> None:
        self.parent_edges[get_graph_id(task)] = {get_graph_id(parent)} if parent else set()
        if task.parent_id:  # the parent before the change
            self.subtask_edges.get(task.parent_id, set()).discard(get_graph_id(task))
        if parent:
            self.subtask_edges.setdefault(get_graph_id(parent), set()).add(get_graph_id(task))
