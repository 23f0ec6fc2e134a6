"""The registry of resource types: the only description of each type.

Trash, search, undo, history, look-ups, CSV and the tests of the search migration read it. It
includes the resource types of accounts, because undo needs all types in one order. The verbs of a
task are described by their classes in tasks/changes.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from django.db.models import Model, Q
from django.utils import timezone

from accounts.models import ApiToken, Tenant, User
from taskflow.audit.consequences import register_consequences
from taskflow.audit.quotas import CountedModel, register_counted_models
from taskflow.audit.resource_types import ResourceType, register_resource_types, type_of_model
from tasks.models.comments import Comment
from tasks.models.invitations import Invitation
from tasks.models.pages import Page
from tasks.models.projects import Project, ProjectMember
from tasks.models.readiness import (
    READY,
    find_ready_after_project_changes,
    find_ready_after_task_changes,
)
from tasks.models.tags import Tag
from tasks.models.tasks import Task
from tasks.models.views import View
from tasks.models.webhooks import Webhook

MOVE_TO_TRASH = ("deleted", "deleted_at")  # verb and field: see ResourceType.removal
# Each type comes after the type that it belongs to: undo restores rows in this order.
RESOURCE_TYPES = (
    ResourceType(
        Tenant,
        "tenant",
        sentences={
            "password_refused": "tried to sign in with an unknown e-mail from {address}",
            "password_limited": "tried too many passwords from {address}",
        },
    ),
    ResourceType(
        User,
        "user",
        unique=("handle", "email"),
        removal=("deactivated", "is_active"),
        sentences={
            "signed_in": "signed in from {address}",
            "password_refused": "entered a wrong password from {address}",
            "password_limited": "tried too many passwords from {address}",
            "code_limited": "tried too many codes from {address}",
        },
    ),
    ResourceType(
        ApiToken,
        "token",
        own_visibility="visible_to",
        removal=("revoked", "revoked_at"),
        restores_values=False,
    ),
    ResourceType(
        Invitation,
        "invitation",
        own_visibility="visible_to",
        removal=("revoked", "revoked_at"),
        restores_values=False,
        sentences={
            "created": "invited {email}",
            "resent": "sent the invitation again",
            "accepted": "accepted the invitation",
        },
    ),
    ResourceType(
        Project,
        "project",
        select_related=("owner",),
        unique=("key",),
        removal=MOVE_TO_TRASH,
        changed_without_event=("last_number",),
    ),
    ResourceType(
        ProjectMember,
        "membership",
        belongs_to="project",
        select_related=("project", "user"),
        created_verb="joined",
        removed_verb="left",
        sentences={
            "joined": "added {user} to the project as {role}",
            "left": "removed {user} from the project",
        },
    ),
    ResourceType(Tag, "tag", unique=("name",), is_referred_by_name=True),
    ResourceType(
        Task,
        "task",
        belongs_to="project",
        parent="parent",
        select_related=("project", "assignee"),
        search_columns=("title", "description"),
        csv_columns=(
            "title",
            "description",
            "status",
            "outcome",
            "priority",
            "assignee",
            "tags",
            "due_date",
            "due_on",
            "parent",
            "blocked_by",
            "external_ref",
            "links",
            "metadata",
        ),
        sentences={
            "imported": "imported the {label} {title}",
            READY: "completed, deleted or removed the last open blocker of the task",
            "claimed": "claimed the task",
            "claim_released": "released the claim of the task",
            "claim_failed": "gave up the task as failed",
            "claim_needs_input": "handed the task to {assignee}, who has to give input",
            "claim_broken": "broke the claim of the task",
            "claim_expired": "noticed that the claim of the task had expired",
            "claim_cancel_requested": "asked the worker of the task to stop",
        },
        unique=("external_ref",),
        removal=MOVE_TO_TRASH,
        filled_by_migration=("outcome",),
    ),
    ResourceType(
        Comment,
        "comment",
        belongs_to="task",
        author="author",
        select_related=("task__project", "author"),
        search_columns=("body",),
        removal=MOVE_TO_TRASH,
        sentences={"imported": "imported a comment"},
    ),
    ResourceType(
        Page,
        "page",
        belongs_to="project",
        author="owner",
        own_visibility="visible_within_project",
        draft_visibility="visible_as_drafts",
        select_related=("project", "owner"),
        search_columns=("title", "body"),
        removal=MOVE_TO_TRASH,
        inverse_verbs={"published": "unpublished", "unpublished": "published"},
        sentences={
            "published": "published the page",
            "unpublished": "turned the page back into a draft",
        },
    ),
    ResourceType(View, "view", own_visibility="visible_to", select_related=("owner",)),
)
register_resource_types(RESOURCE_TYPES)
register_consequences(Task, find_ready_after_task_changes)
register_consequences(Project, find_ready_after_project_changes)
# Rows in the trash count. So restoring them needs no check.
register_counted_models(
    (
        CountedModel("projects", Project, ("name", "description", "metadata")),
        CountedModel("tasks", Task, ("title", "description", "links", "metadata")),
        CountedModel("comments", Comment, ("body",)),
        CountedModel("pages", Page, ("title", "body")),
        CountedModel("tags", Tag),
        CountedModel("webhooks", Webhook),
        CountedModel("views", View),
        CountedModel(
            "users",
            User,
            condition=lambda: Q(is_active=True),
            is_counted=lambda user: bool(user.is_active),
        ),
        CountedModel(
            "tokens",
            ApiToken,
            condition=lambda: (
                Q(revoked_at=None, is_sign_in=False) & ~Q(expires_at__lt=timezone.now())
            ),
            is_counted=lambda token: token.revoked_at is None and not token.is_sign_in,
        ),
    )
)
TRASHABLE_TYPES = tuple(t for t in RESOURCE_TYPES if t.is_trashable)
SEARCHABLE_TYPES = tuple(t for t in RESOURCE_TYPES if t.search_columns)


def project_path(model: type[Model]) -> str | None:
    """Return the path of foreign keys from a row of the model to its project: `pk` for a project
    itself, None for a resource type that is not inside projects.
    """
    return type_of_model(model).path_to(Project)


def require_project(row: Any) -> Project:
    """Return the project that a row belongs to.

    Costs one query for each row on the path that was not loaded with select_related(). Raises
    LookupError for a resource type that is not inside projects.
    """
    model: type[Model] = type(row)
    for name in _names_to_project(model):
        row = getattr(row, name)
    project: Project = row
    return project


@cache
def _names_to_project(model: type[Model]) -> tuple[str, ...]:
    """Return the foreign keys of project_path(). Raises LookupError if there is none."""
    path = project_path(model)
    if path is None:
        raise LookupError(f"{model.__name__} rows do not belong to projects.")
    return () if path == "pk" else tuple(path.split("__"))
