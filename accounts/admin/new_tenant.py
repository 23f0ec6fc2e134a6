"""The page on which an operator adds a tenant and its owner."""

from __future__ import annotations

import secrets
from functools import partial

from django import forms
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from accounts.actions.password_resets import issue_first_password_link
from accounts.actions.tenants import create_tenant_as_operator
from accounts.admin.account_pages import AccountForm
from accounts.admin.recorded import get_actor
from accounts.models import Tenant
from accounts.schemas.sign_in import Registration
from taskflow.admin.site import TextInput
from taskflow.audit.actor import Actor
from taskflow.audit.models import Via
from taskflow.http.parsing import check_values
from taskflow.http.request import Request
from taskflow.tenancy import inside


class NewTenantForm(AccountForm):
    tenant_name = forms.CharField(label=gettext_lazy("Name"), max_length=200, widget=TextInput)
    subdomain = forms.CharField(
        label=gettext_lazy("Subdomain"),
        max_length=63,
        widget=TextInput,
        help_text=gettext_lazy("The first part of the tenant's host. It cannot be changed."),
    )
    full_name = forms.CharField(
        label=gettext_lazy("Name of the owner"), max_length=100, widget=TextInput
    )
    email = forms.EmailField(
        label=gettext_lazy("E-mail of the owner"), max_length=255, widget=TextInput
    )


def add_tenant(request: HttpRequest) -> HttpResponse:
    """Show the form, and create the tenant when the unit of work of this request has ended.

    Units of work of different tenants do not nest. Raises PermissionDenied for other users.
    """
    assert isinstance(request, Request)
    if not get_actor(request).user.is_superuser:
        raise PermissionDenied
    form = NewTenantForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        request.continue_outside = partial(_create, request, form)
        return HttpResponse()  # that of _create() is sent in its place
    return _show(request, form)


def _create(request: Request, form: NewTenantForm) -> HttpResponse:
    """Create the tenant. Return the page with the owner's link, or the form with the reason."""
    operator, owners = get_actor(request), list[Actor]()

    def create() -> None:
        sent = {**form.cleaned_data, "password": secrets.token_urlsafe()}  # only to check the rest
        values = check_values(Registration, sent) | {"password": None}
        owners.append(
            create_tenant_as_operator(
                **values, via=Via.ADMIN, operator=operator.user, request_id=operator.request_id
            )
        )

    is_created = form.try_to(create)
    link = issue_first_password_link(owners[0]) if is_created else ""
    with inside(operator.tenant):
        return _show(request, form, owners[0].tenant if is_created else None, link)


def _show(
    request: HttpRequest, form: NewTenantForm, tenant: Tenant | None = None, link: str = ""
) -> HttpResponse:
    context = {
        **admin.site.each_context(request),
        "title": _("Add tenant"),
        "form": form,
        "opts": Tenant._meta,
        "tenant": tenant,
        "link": link,
    }
    response = render(request, "admin/new_tenant.html", context)
    response["Cache-Control"] = "private, no-store"
    return response
