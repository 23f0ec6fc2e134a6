"""The indexes of tasks, each with the queries that it serves."""

from __future__ import annotations

from django.db import models
from django.db.models import ExpressionWrapper, F, Q

# The order in which tasks are claimed, as indexes have it: the most urgent ones first, and those
# that are never due last. SQLite uses no index for NULLS LAST.
CLAIM_ORDER = (
    F("priority_rank").desc(),
    ExpressionWrapper(Q(due__isnull=True), models.BooleanField()),
    "due",
    "id",
)

TASK_INDEXES = [
    # the list of tasks with one status in a project, and `recount`
    models.Index(fields=["tenant", "project", "status", "id"], name="task_by_status"),
    # lists in each order that `sort` accepts, of one project or merged from several
    *(
        models.Index(
            fields=["tenant", "project", *fields],
            name=f"task_in_order_of_{name}",
            condition=Q(deleted_at__isnull=True),
        )
        for name, fields in {
            "id": ["id"],
            "created_at": ["created_at", "id"],
            "updated_at": ["updated_at", "id"],
            "activity": ["last_activity_at", "id"],
            "due_date": ["due_date", "id"],
            "due_on": ["due_on", "id"],
            "due": ["due", "id"],
            "priority": ["priority_rank", "id"],
            "title": ["title_folded", "id"],
        }.items()
    ),
    # sort=-priority,due_date and so on: tasks with one priority in each second order. With
    # only three priorities, sorting all tasks of one costs 30 ms at 100,000 tasks.
    *(
        models.Index(
            fields=["tenant", "project", "priority_rank", field, "id"],
            name=f"task_priority_then_{name}",
            condition=Q(deleted_at__isnull=True),
        )
        for name, field in {
            "created_at": "created_at",
            "updated_at": "updated_at",
            "activity": "last_activity_at",
            "due_date": "due_date",
            "due_on": "due_on",
            "due": "due",
            "title": "title_folded",
            "number": "number",
        }.items()
    ),
    # claims: the open tasks of a tenant, or of a project, in the order of claims. The done
    # ones, most of an old tenant, are left out: a claim would pass over them.
    models.Index(
        "tenant",
        *CLAIM_ORDER,
        name="task_to_claim",
        condition=Q(deleted_at__isnull=True) & ~Q(status="done"),
    ),
    models.Index(
        "tenant",
        "project",
        *CLAIM_ORDER,
        name="task_to_claim_of_project",
        condition=Q(deleted_at__isnull=True) & ~Q(status="done"),
    ),
    # the first page of the admin: the open tasks of a person by due time, the number of open tasks
    # of each person in a project, and the number of tasks that were done on a day. The first two
    # say `completed_at IS NULL`, which claims do not say: SQLite would otherwise read them for
    # claims, and sort. A query for them has to say it too.
    models.Index(
        fields=["tenant", "assignee", "due", "id"],
        name="task_open_by_due",
        condition=Q(assignee__isnull=False, completed_at__isnull=True, deleted_at__isnull=True),
    ),
    models.Index(
        fields=["tenant", "project", "assignee", "id"],
        name="task_open_by_assignee",
        condition=Q(completed_at__isnull=True, deleted_at__isnull=True),
    ),
    models.Index(
        fields=["tenant", "project", "completed_at"],
        name="task_by_completion",
        condition=Q(completed_at__isnull=False, deleted_at__isnull=True),
    ),
    # the filters `assignee`, `created_by` and `parent`, and the foreign keys' checks
    models.Index(fields=["tenant", "assignee", "status", "id"], name="task_by_assignee"),
    # the tasks of a person, the most urgent first. All of them, because no query says to the
    # database that it wants open ones: the status is a parameter.
    models.Index(
        fields=["tenant", "assignee", "priority_rank", "id"],
        name="task_by_assignee_and_priority",
        condition=Q(assignee__isnull=False, deleted_at__isnull=True),
    ),
    models.Index(fields=["tenant", "created_by"], name="task_by_creator"),
    models.Index(fields=["tenant", "parent"], name="task_by_parent"),
    # the filters updated_after and updated_before
    models.Index(fields=["tenant", "updated_at", "id"], name="task_by_change"),
    # the filter updated_since
    models.Index(fields=["tenant", "last_activity_at", "id"], name="task_by_activity"),
    # the filters due_before and due_after
    models.Index(
        fields=["tenant", "due_date"],
        name="task_by_due_date",
        condition=Q(due_date__isnull=False),
    ),
    models.Index(
        fields=["tenant", "due_on"],
        name="task_by_due_on",
        condition=Q(due_on__isnull=False),
    ),
    # the list of the trash, and `purge`
    models.Index(
        fields=["tenant", "deleted_at"],
        name="task_trash",
        condition=Q(deleted_at__isnull=False),
    ),
]
