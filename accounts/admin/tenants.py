"""The tenant that the user works in, and for operators the list of tenants to choose from."""

from __future__ import annotations

from typing import Any

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import URLPattern, path, reverse
from django.utils.functional import Promise
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_POST

from accounts.actions import tenant_lifecycle
from accounts.actions import tenants as tenant_actions
from accounts.admin.fields import FormValues
from accounts.admin.new_tenant import add_tenant
from accounts.admin.recorded import RecordedAdmin, get_actor
from accounts.auth import ACTING_TENANT
from accounts.models import Tenant
from accounts.schemas.tenants import TenantUpdate
from taskflow.admin.site import action, display
from taskflow.audit.actor import Actor
from taskflow.tenancy import current_tenant_id


@admin.register(Tenant)
class TenantAdmin(RecordedAdmin):
    schema = TenantUpdate
    list_display = ["name", "subdomain", "show_current", "is_active", "deletion_at", "created_at"]
    search_fields = ["name", "subdomain"]
    ordering = ["name"]
    fields = ["name", "subdomain", "time_zone", "max_attempts", "is_active", "deletion_at"]
    readonly_fields = ["subdomain", "is_active", "deletion_at"]
    actions = ["work_here", "deactivate", "activate"]

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(require_POST(self.switch_view))
        name = "accounts_tenant_switch"
        return [path("<int:tenant_id>/switch/", view, name=name), *super().get_urls()]

    def get_list_display(self, request: HttpRequest) -> list[Any]:
        """Return the columns. Operators also get the button that opens a tenant."""
        columns = list(super().get_list_display(request))
        return [*columns, "show_switch"] if request.user.is_superuser else columns

    def get_queryset(self, request: HttpRequest) -> models.QuerySet[Tenant]:
        """Return all tenants for an operator, and only their own for staff.

        The table of tenants belongs to no tenant, so nothing else filters it.
        """
        if request.user.is_superuser:
            return Tenant.objects.all()
        return Tenant.objects.filter(pk=get_actor(request).tenant.pk)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return bool(request.user.is_superuser)

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        return add_tenant(request)

    def has_delete_permission(self, request: HttpRequest, obj: Tenant | None = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Tenant | None = None) -> bool:
        return obj is None or obj.pk == get_actor(request).tenant.pk

    def change_row(self, actor: Actor, row: Tenant, values: FormValues) -> None:
        tenant_actions.update_tenant(actor, **values)

    @display(description="", label={"current": "success"})
    def show_current(self, tenant: Tenant) -> tuple[str, Promise] | str:
        return ("current", _("current tenant")) if tenant.pk == current_tenant_id() else ""

    @display(description="")
    def show_switch(self, tenant: Tenant) -> str:
        """Return the button of the row, which the form of the list contains."""
        if tenant.pk == current_tenant_id():
            return ""
        return format_html(
            '<button type="submit" formaction="{}" aria-label="{}" class="cursor-pointer'
            ' font-medium text-primary-600 underline dark:text-primary-500">{}</button>',
            reverse("admin:accounts_tenant_switch", args=[tenant.pk]),
            _("Work here: %s") % tenant.name,
            _("Work here"),
        )

    @action(description=_("Work in this tenant"))
    def work_here(
        self, request: HttpRequest, queryset: models.QuerySet[Tenant]
    ) -> HttpResponse | None:
        if not request.user.is_superuser or len(queryset) != 1:
            messages.error(
                request, _("Choose one tenant. Only operators can work in other tenants.")
            )
            return None
        return self.switch_view(request, queryset[0].pk)

    def switch_view(self, request: HttpRequest, tenant_id: int) -> HttpResponse:
        """Let an operator work in this tenant (POST). Raises PermissionDenied for other users."""
        if not request.user.is_superuser:
            raise PermissionDenied
        request.session[ACTING_TENANT] = get_object_or_404(Tenant, pk=tenant_id).pk
        return redirect("admin:index")

    @action(description=_("Deactivate: nobody signs in, and tokens do not work"))
    def deactivate(self, request: HttpRequest, queryset: models.QuerySet[Tenant]) -> None:
        if self._is_current(request, queryset):
            tenant_lifecycle.deactivate_tenant(get_actor(request))

    @action(description=_("Activate, and take a scheduled deletion back"))
    def activate(self, request: HttpRequest, queryset: models.QuerySet[Tenant]) -> None:
        if self._is_current(request, queryset):
            tenant_lifecycle.activate_tenant(get_actor(request))

    def _is_current(self, request: HttpRequest, queryset: models.QuerySet[Tenant]) -> bool:
        """Return whether the tenant in which the operator works is chosen. Otherwise say so.

        A change is recorded in the log of its tenant, which only a request in the tenant can write.
        """
        if [tenant.pk for tenant in queryset[:2]] == [current_tenant_id()]:
            return True
        messages.error(request, _("Choose one tenant, and work in it first."))
        return False
