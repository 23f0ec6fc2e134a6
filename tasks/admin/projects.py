"""The admin pages of projects, with members and tasks as inlines, and of memberships."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext, ngettext
from django.utils.translation import gettext_lazy as _

from accounts.admin.fields import FormValues
from accounts.admin.forms import RecordedForm
from accounts.admin.recorded import RecordedAdmin, RecordedInline, get_actor
from taskflow.admin.site import AutocompleteSelectFilter, action, display
from taskflow.audit.actor import Actor
from taskflow.http.files import WrittenFile
from tasks.actions import members as member_actions
from tasks.actions import projects as actions
from tasks.admin.done import report_done
from tasks.admin.rendered import RenderedAdmin
from tasks.admin.rights import check_role, check_writer
from tasks.csv.writing import csv_response
from tasks.models import Project, ProjectMember, Role, Task
from tasks.rules import MANAGERS
from tasks.schemas.csv import CsvFormat
from tasks.schemas.projects import ProjectCreate

ROLE_COLORS = {"owner": "danger", "admin": "warning", "member": "info"}
STATUS_COLORS = {
    "active": "success",
    "on_hold": "warning",
    "completed": "info",
    "archived": "danger",
}


class ProjectForm(RecordedForm):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "key" in self.fields:  # a read-only page has no such field
            self.fields["key"].required = bool(self.instance.pk)
            self.fields["key"].help_text = _("Leave it empty to derive it from the name.")

    def clean_key(self) -> str | None:
        return self.cleaned_data["key"] or None


class MemberInline(RecordedInline):
    model = ProjectMember
    fields = ["user", "role"]
    autocomplete_fields = ["user"]

    def check_edit(self, request: HttpRequest, parent: Project | None) -> None:
        if parent is not None:  # who creates a project becomes its owner
            check_role(request, parent, *MANAGERS)

    def get_extra(self, request: HttpRequest, obj: Project | None = None, **kwargs: Any) -> int:
        """Return the number of empty rows: two in the form of a new project."""
        return 0 if obj else 2

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[ProjectMember]:
        return ProjectMember.objects.select_related("user").order_by("id")


class TaskInline(RecordedInline):
    model = Task
    fields = ["title", "status", "priority", "assignee", "due_on"]
    autocomplete_fields = ["assignee"]
    show_change_link = True

    def check_edit(self, request: HttpRequest, parent: Project | None) -> None:
        if parent is not None:
            check_writer(request, parent)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Task]:
        return Task.objects.select_related("project", "assignee").order_by("-id")


@admin.register(Project)
class ProjectAdmin(RenderedAdmin):
    schema = ProjectCreate
    rendered_field = "description"
    form = ProjectForm
    list_display = ["show_name", "show_status", "owner", "show_tasks", "updated_at"]
    list_filter = ["status", ("owner", AutocompleteSelectFilter)]
    list_filter_submit = True
    list_select_related = ["owner"]
    search_fields = ["key", "name"]
    autocomplete_fields = ["owner"]
    ordering = ["-id"]
    actions = ["complete_tasks", "download_tasks", "restore_selected", "purge_selected"]
    inlines = [MemberInline, TaskInline]
    fields = [("name", "key"), ("status", "owner"), "description", "metadata"]

    def check_view(self, request: HttpRequest) -> None:
        """Permit everybody."""

    def check_add(self, request: HttpRequest) -> None:
        """Permit everybody. Who creates a project becomes its owner."""

    def check_change(self, request: HttpRequest, row: Project | None) -> None:
        check_role(request, row, *MANAGERS)

    def check_delete(self, request: HttpRequest, row: Project | None) -> None:
        check_role(request, row, Role.OWNER)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Suggest the person who creates the project as its owner. Operators are no member."""
        member = get_actor(request).member
        suggested = {"owner": member.pk} if member else {}
        return suggested | super().get_changeform_initial_data(request)

    def get_inline_instances(self, request: HttpRequest, obj: Project | None = None) -> list[Any]:
        """Return the inlines. The members of a new project are below its fields, not in a tab."""
        inlines: list[Any] = super().get_inline_instances(request, obj)
        for inline in inlines:
            inline.tab = obj is not None or not isinstance(inline, MemberInline)
        return inlines

    def with_details(self, request: HttpRequest, rows: Any) -> Any:
        return rows.with_details(get_actor(request).viewer)

    def get_search_results(
        self, request: HttpRequest, queryset: models.QuerySet[Any], search_term: str
    ) -> tuple[models.QuerySet[Any], bool]:
        """Search by key and name. Autocomplete does not load the task counts."""
        is_autocomplete = "/autocomplete/" in request.path
        rows: models.QuerySet[Project] = Project.objects.visible_to(
            get_actor(request).viewer
        ).order_by("key")
        rows = rows if is_autocomplete else queryset
        return super().get_search_results(request, rows, search_term)

    def create_row(self, actor: Actor, values: FormValues) -> Project:
        return actions.create_project(actor, **values | {"key": values["key"] or None})

    def change_row(self, actor: Actor, row: Project, values: FormValues) -> None:
        actions.update_project(actor, row, **values)

    def delete_row(self, actor: Actor, row: Project) -> None:
        actions.delete_project(actor, row)

    @action(description=_("Complete all open tasks"))
    def complete_tasks(self, request: HttpRequest, queryset: models.QuerySet[Project]) -> None:
        count = sum(actions.complete_project_tasks(get_actor(request), p) for p in queryset)
        done = ngettext("Completed %(n)d task.", "Completed %(n)d tasks.", count) % {"n": count}
        if count:
            report_done(request, done)
        else:
            messages.success(request, done)

    @action(description=_("Download the tasks as CSV"))
    def download_tasks(
        self, request: HttpRequest, queryset: models.QuerySet[Project]
    ) -> HttpResponse | WrittenFile:
        ids = list(queryset.values_list("pk", flat=True))
        actor = get_actor(request)
        rows = Task.objects.visible_to(actor.viewer).filter(project__in=ids)
        return csv_response(actor, rows, "tasks.csv", CsvFormat())

    @display(description=_("project"), ordering="name", header=True)
    def show_name(self, project: Project) -> list[str]:
        return [project.name, project.key]

    @display(description=_("status"), ordering="status", label=STATUS_COLORS)
    def show_status(self, project: Project) -> tuple[str, str]:
        return project.status, project.get_status_display()

    @display(description=_("to do / in progress / done / cancelled"))
    def show_tasks(self, project: Project) -> str:
        return " / ".join(str(count) for count in project.task_counts.values())


@admin.register(ProjectMember)
class ProjectMemberAdmin(RecordedAdmin):
    list_display = ["user", "project", "show_role", "joined_at"]
    list_filter = ["role", ("project", AutocompleteSelectFilter)]
    list_filter_submit = True
    list_select_related = ["user", "project"]
    search_fields = ["user__handle", "user__full_name", "project__key", "project__name"]
    autocomplete_fields = ["user", "project"]
    ordering = ["-id"]
    fields = ["project", "user", "role"]

    def check_view(self, request: HttpRequest) -> None:
        """Permit everybody."""

    def check_add(self, request: HttpRequest) -> None:
        check_role(request, None, *MANAGERS)

    def check_change(self, request: HttpRequest, row: ProjectMember | None) -> None:
        is_owner = row is not None and row.role == Role.OWNER
        roles = [Role.OWNER] if is_owner else MANAGERS
        check_role(request, row.project if row else None, *roles)

    def check_delete(self, request: HttpRequest, row: ProjectMember | None) -> None:
        """Permit what remove_member() does: everybody may end the own membership."""
        if row is None:
            check_writer(request, None)
        elif row.user_id != get_actor(request).user.pk:
            self.check_change(request, row)

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[ProjectMember]:
        return ProjectMember.objects.visible_to(get_actor(request).viewer)

    def get_readonly_fields(
        self, request: HttpRequest, obj: ProjectMember | None = None
    ) -> list[str]:
        return ["project", "user"] if obj else []

    def create_row(self, actor: Actor, values: FormValues) -> ProjectMember:
        return member_actions.add_member(
            actor, values["project"], user=values["user"], role=Role(values["role"])
        )

    def change_row(self, actor: Actor, row: ProjectMember, values: FormValues) -> None:
        if user := values.get("user"):  # another user was chosen in an inline row
            member_actions.remove_member(actor, row)
            role = Role(values.get("role", row.role))
            member_actions.add_member(actor, row.project, user=user, role=role)
        elif "role" in values:
            member_actions.change_role(actor, row, role=Role(values["role"]))

    def delete_row(self, actor: Actor, row: ProjectMember) -> None:
        member_actions.remove_member(actor, row)

    def count_to_delete(self, ids: list[int]) -> dict[str, int]:
        unassigned = member_actions.count_tasks_to_unassign(ids)
        counts = {gettext("open tasks that become unassigned"): unassigned} if unassigned else {}
        return super().count_to_delete(ids) | counts

    @display(description=_("role"), ordering="role", label=ROLE_COLORS)
    def show_role(self, member: ProjectMember) -> tuple[str, str]:
        return member.role, member.get_role_display()
