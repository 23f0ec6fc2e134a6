"""The URLs."""

from __future__ import annotations

from django.contrib import admin
from django.db import connection
from django.http import JsonResponse
from django.urls import URLPattern, path
from django.views.generic import RedirectView
from django.views.i18n import set_language

from accounts.admin import account
from accounts.admin.email_changes import email_confirmation
from accounts.admin.password_resets import password_reset, password_reset_completion
from accounts.admin.passwords import change_own_password
from accounts.admin.sign_in import enrol, enter_code, sign_in
from taskflow.api import api
from taskflow.database_version import find_incompatibility
from taskflow.errors_page import errors_page
from taskflow.guide import llms_txt
from taskflow.http import health
from taskflow.http.errors import ERRORS_PAGE
from taskflow.http.request import Request
from taskflow.http.urls import GroupedResolver
from taskflow.mcp.endpoint import mcp
from taskflow.mcp.metadata import protected_resource
from taskflow.security_txt import security_txt
from taskflow.tenancy.checks import find_violations
from tasks.admin import notifications, usage
from tasks.admin.home.charts import show_charts
from tasks.admin.invitations import accept_invitation
from tasks.admin.labels import AutocompleteView
from tasks.admin.unsubscribing import unsubscribe_page


def readyz(request: Request) -> JsonResponse:
    """Return whether requests can be served. Also checks the database version and isolation."""
    return health.readyz(request, checks=(find_incompatibilities, find_violations))


def find_incompatibilities() -> list[str]:
    """Return why this version cannot serve the database: no sentence or one."""
    sentence = find_incompatibility(connection)
    return [sentence] if sentence else []


autocomplete = AutocompleteView.as_view(admin_site=admin.site)
api_urls = api.urls
api_resolver = path("api/v1/", api_urls)
# The index, which is also at the URL without a slash at its end.
(index_view,) = [
    url.callback for url in api_urls[0] if isinstance(url, URLPattern) and url.name == "get_index"
]

urlpatterns = [  # tried in this order
    path(ERRORS_PAGE.removeprefix("/"), errors_page),
    GroupedResolver(api_resolver.pattern, api_urls[0], {}, *api_urls[1:]),
    path("api/v1", index_view),
    path("mcp", mcp),
    path("llms.txt", llms_txt),
    # The metadata about a resource is at the well-known path, with the path of the resource.
    path(".well-known/oauth-protected-resource", protected_resource),
    path(".well-known/oauth-protected-resource/mcp", protected_resource),
    path(".well-known/security.txt", security_txt),
    path("", RedirectView.as_view(pattern_name="admin:index")),
    path("admin/login/", sign_in),
    path("admin/login/code/", enter_code, name="admin_code"),
    path("admin/login/enrolment/", enrol, name="admin_enrolment"),
    # Unfold's menu has a form for the URL of this name.
    path("admin/language/", set_language, name="set_language"),
    path("admin/account/", account.view, name="admin_account"),
    path("admin/home/charts/", admin.site.admin_view(show_charts), name="admin_home_charts"),
    path("admin/autocomplete/", admin.site.admin_view(autocomplete)),
    path("admin/password_change/", admin.site.admin_view(change_own_password)),
    # Unfold's sign-in page has a link to the URL of this name.
    path("admin/password-reset/", password_reset, name="admin_password_reset"),
    path("admin/password-reset/completion/", password_reset_completion),
    path("admin/invitation/", accept_invitation),
    path("admin/email-confirmation/", email_confirmation),
    path("admin/unsubscribe/", unsubscribe_page),
    path("admin/inbox/", notifications.view, name="admin_inbox"),
    path("admin/usage/", usage.view, name="admin_usage"),
    path("admin/", admin.site.urls),
    path("livez", health.livez),
    path("readyz", readyz),
]
