"""Permission rules for projects. The require_… functions raise Forbidden or Conflict."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from django.db.models import QuerySet
from django.utils.translation import gettext

from accounts.rules import require_staff
from taskflow.audit.actor import Actor
from taskflow.db.query import QueryCache
from taskflow.db.types import Row
from taskflow.http.errors import Conflict, Forbidden
from taskflow.tenancy import with_tenant_parameter
from tasks.models import Project, ProjectMember, ProjectStatus, Role, View


@with_tenant_parameter
def _membership_query(
    project_id: int, user_id: int, roles: Sequence[str]
) -> QuerySet[ProjectMember, Row]:
    memberships = ProjectMember.objects.filter(project=project_id, user=user_id, role__in=roles)
    return memberships.values_list("pk")


MEMBERSHIP_QUERY = QueryCache(_membership_query)
MANAGERS = (Role.OWNER, Role.ADMIN)
# The roles that may write in a project. Roles are listed one by one: being able to see a project
# must never be enough to write in it.
WRITERS = (Role.OWNER, Role.ADMIN, Role.MEMBER)


def require_role(actor: Actor, project: Project, *roles: Role) -> None:
    """Raise Forbidden unless the actor is staff or has one of `roles` in the project. One query.

    With a token that another user has created, this user needs one of the roles too, which is a
    second query: otherwise who creates a token for an agent could do more than by signing in.
    """
    if actor.is_staff:
        return
    if not _has_role(actor.user.pk, project, roles):
        sentence = gettext("Only the %(roles)s of “%(project)s” may do this.")
        raise Forbidden(sentence % {"roles": _name_roles(roles), "project": project.name})
    maker_id = actor.maker_id
    if maker_id is None or project.owner_id == actor.user.pk:
        return
    if not _has_role(maker_id, project, roles):
        raise Forbidden(
            f"Only the {' or '.join(roles)} of “{project.name}” may do this. You are one, but the"
            " user who created your token is not, so that the token does not allow it."
        )


def find_held_roles(actor: Actor) -> frozenset[str]:
    """Return the roles that the actor has in any project. One query."""
    held = ProjectMember.objects.filter(user=actor.user.pk, project__deleted_at__isnull=True)
    return frozenset(held.order_by().values_list("role", flat=True).distinct())


def require_held_role(held: Collection[str], *roles: Role) -> None:
    """Raise Forbidden unless one of `roles` is among those that a user holds in any project.

    It decides which pages are offered at all. What is done is checked by require_role().
    """
    if not set(roles) & set(held):
        sentence = gettext("You are not %(roles)s of any project, so there is nothing to do here.")
        raise Forbidden(sentence % {"roles": _name_roles(roles)})


def _name_roles(roles: Sequence[Role]) -> str:
    names = {
        Role.OWNER: gettext("owner"),
        Role.ADMIN: gettext("admin"),
        Role.MEMBER: gettext("member"),
    }
    return gettext(" or ").join(names[role] for role in roles)


def _has_role(user_id: int, project: Project, roles: Sequence[Role]) -> bool:
    return bool(MEMBERSHIP_QUERY.fetch((), project.pk, user_id, tuple(map(str, roles))))


def require_member(actor: Actor, project: Project) -> None:
    """Raise Forbidden unless the actor may write in the project.

    Raises Conflict if the project is archived. Costs one query if the actor's role was not loaded
    with the project.
    """
    if project.get_loaded_role(actor.user.pk) not in WRITERS:
        require_role(actor, project, *WRITERS)
    require_unarchived(project)


def require_unarchived(project: Project) -> None:
    """Raise Conflict if the project is archived, which closes it to all changes of its contents.

    The status is the one that was read with the project. A project that is archived at the same
    time may still receive this change, as if it had been made before.
    """
    if project.status == ProjectStatus.ARCHIVED:
        raise Conflict(
            gettext(
                "The project “%(name)s” is archived and cannot be changed. An administrator can"
                " reopen it by setting another status."
            )
            % {"name": project.name},
            code="project_archived",
        )


def require_author(actor: Actor, author_id: int | None) -> None:
    """Raise Forbidden unless the actor is the author of the comment.

    `author_id` is None for a comment that an operator wrote.
    """
    if author_id is None or author_id != actor.user.pk:
        raise Forbidden(gettext("Only the author of a comment may change it."))


def require_author_or_manager(actor: Actor, project: Project, author_id: int | None) -> None:
    """Raise Forbidden unless the actor is the author of the row, or an owner or admin of the
    project. Raise Conflict if the project is archived.

    `author_id` is None for rows that an operator created.
    """
    if author_id is None or author_id != actor.user.pk:
        require_role(actor, project, *MANAGERS)
    require_unarchived(project)


def require_another_owner(member: ProjectMember) -> None:
    """Raise Conflict if `member` is an owner of the project and no other owner is active."""
    owners = ProjectMember.objects.filter(project=member.project_id, role=Role.OWNER)
    owners = owners.filter(user__is_active=True)
    if member.role == Role.OWNER and not owners.exclude(pk=member.pk).exists():
        raise Conflict(
            gettext("The last active owner cannot leave. Make another member an owner first.")
        )


def require_all_projects(actor: Actor) -> None:
    """Raise Forbidden if the actor's token is limited to projects: it cannot create others."""
    if actor.project_ids is not None:
        raise Forbidden(
            "This token is limited to some projects and cannot create others. Use a token without"
            " project_ids."
        )


def check_can_keep_history(actor: Actor, names: Collection[str]) -> None:
    """Raise Forbidden, with a pointer to each field, unless the actor may set these fields.

    They are the author and the times of a new row, which an import keeps. Only an administrator
    with a token for the whole tenant may set them: otherwise a member could ascribe a row to
    another user.
    """
    if not names or (actor.is_staff and actor.project_ids is None):
        return
    labels = ["key" if name == "number" else name for name in names]
    details = {
        name: f"Only an administrator can set {name}. Name the column in `ignore`."
        for name in labels
    }
    errors = [
        {"pointer": f"#/{name}", "code": Forbidden.code, "detail": detail}
        for name, detail in details.items()
    ]
    raise Forbidden(errors[0]["detail"], errors=errors)


def require_view_owner(actor: Actor, view: View) -> None:
    """Raise Forbidden unless the actor owns the view, or administers the tenant and it is
    shared.
    """
    is_owner = actor.member is not None and view.owner_id == actor.user.pk
    if not is_owner and not (actor.is_staff and view.is_shared):
        raise Forbidden(gettext("Only the owner of a view may change it. Create one of your own."))


def require_webhook_manager(actor: Actor, project: Project | None) -> None:
    """Raise Forbidden unless the actor may manage webhooks: those of a project as its owner or
    admin, those of the whole tenant as an administrator.

    A webhook sends what its owner may see. A token that another user has created may show less than
    that, so it creates none for the whole tenant.
    """
    if project is not None:
        require_role(actor, project, *MANAGERS)
        return
    require_staff(actor)
    if actor.maker_id is not None:
        raise Forbidden(
            "This token was created by another user. With it, only webhooks of a project can be"
            " managed: send `project`."
        )
