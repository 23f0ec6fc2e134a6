"""The admin site: who may use it, and the pages for what somebody may not open.

Every active person of a tenant may sign in. What a person can open is decided by the admin class of
each model (accounts/admin/rights.py). The menu shows only pages that can be opened.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, lru_cache, partial, wraps
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from django.conf import settings
from django.contrib.admin import ModelAdmin
from django.contrib.admin.views.autocomplete import AutocompleteJsonView
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import Resolver404, URLPattern, path, resolve
from django.utils.functional import SimpleLazyObject
from django.utils.module_loading import import_string
from django.utils.translation import gettext_lazy as _

from taskflow.admin.empty import EMPTY
from taskflow.admin.refusals import sentence_of
from taskflow.http.request import Request

if TYPE_CHECKING:  # Unfold has no types, but its class extends Django's
    from django.contrib.admin import AdminSite as UnfoldAdminSite
else:
    from unfold.sites import UnfoldAdminSite

View = Callable[..., Any]

NOT_PERMITTED = _("You may not do this here.")
WHOM_TO_ASK = _(
    "Nothing was changed. If you need this for your work, ask an administrator of the tenant, or an"
    " owner of the project, to do it or to give you the role for it."
)
NOT_FOUND = _("There is nothing at this address that you can see.")
WHERE_TO_LOOK = _(
    "Check the address. It may also show something that was deleted, or that belongs to a project"
    " of which you are no member: an owner or admin of the project can add you."
)


# What each_context() returns that depends on the request, or that no template shows.
PER_REQUEST = frozenset(
    {"has_permission", "available_apps", "environment", "sidebar_navigation", "log_entries"}
)


class AdminSite(UnfoldAdminSite):
    empty_value_display = EMPTY

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.pages: list[URLPattern] = []
        self._constants: dict[str, Any] | None = None  # of each_context(), after the first page

    def add_page(self, route: str, view: View, name: str) -> None:
        """Add a page that belongs to no model, for everybody who is signed in.

        Modules of admin pages call it when they are imported.
        """
        self.pages.append(path(route, self.admin_view(view), name=name))

    def get_urls(self) -> list[Any]:
        return [*self.pages, *super().get_urls()]

    def has_permission(self, request: HttpRequest) -> bool:
        """Return whether a person who can use these pages is signed in."""
        return getattr(request.user, "can_use_admin", False)

    def admin_view(self, view: View, cacheable: bool = False) -> Any:
        """Return the view for people who are signed in. A refusal becomes a page."""
        return super().admin_view(self._explain_refusals(view), cacheable)

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """Return the pages that the user can open: none before somebody has signed in."""
        if not self.has_permission(request):
            return []
        return super().get_app_list(request, app_label)

    def autocomplete_view(self, request: HttpRequest) -> HttpResponse:
        return cast(HttpResponse, Autocomplete.as_view(admin_site=self)(request))

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        """Return what the templates of all pages show.

        Unfold computes it anew for each request: names, styles, scripts, and links, each of which
        it tries to import first. All but the names of PER_REQUEST are always the same.
        """
        if self._constants is None:
            context = super().each_context(request)
            self._constants = {n: value for n, value in context.items() if n not in PER_REQUEST}
        is_signed_in = self.has_permission(request)
        return self._constants | {
            "has_permission": is_signed_in,
            "available_apps": SimpleLazyObject(partial(self.get_app_list, request)),
            "environment": import_string(str(settings.UNFOLD["ENVIRONMENT"]))(request),
            "sidebar_navigation": self.get_sidebar_list(request) if is_signed_in else [],
        }

    def get_sidebar_list(self, request: HttpRequest) -> list[dict[str, Any]]:
        """Return the groups of the menu, without the pages that the user cannot open."""
        groups = [
            {
                "title": group["title"],
                "items": [
                    show_item(request, item)
                    for item in group["items"]
                    if is_open_to(request, item["link"])
                ],
            }
            for group in list_menu()
        ]
        return [group for group in groups if group["items"]]

    def search(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show what the function that the settings name finds for the words in `s`.

        Unfold's own search stores results for minutes, by user and words. They would contain rows
        that the user may not see any more, or of the tenant in which an operator worked before.
        """
        command = cast(dict[str, str], settings.UNFOLD["COMMAND"])
        find = import_string(command["search_callback"])
        results = find(request, request.GET.get("s", ""))
        context = {"results": results}
        return TemplateResponse(request, "unfold/helpers/command_results.html", context)

    def _explain_refusals(self, view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, *args: object, **kwargs: object) -> Any:
            try:
                require_module(request, find_owner(view))
                return view(request, *args, **kwargs)
            except PermissionDenied as error:
                return self.show_refusal(request, 403, str(error) or find_reason(request))
            except Http404:
                return self.show_refusal(request, 404, str(NOT_FOUND))

        return answer

    def show_refusal(self, request: HttpRequest, status: int, sentence: str) -> HttpResponse:
        """Return a page that says why something cannot be opened or done, and what to do."""
        is_forbidden = status == 403
        context = {
            **self.each_context(request),
            "title": _("You may not do this") if is_forbidden else _("Not found"),
            "sentence": sentence,
            "advice": WHOM_TO_ASK if is_forbidden else WHERE_TO_LOOK,
        }
        return TemplateResponse(request, "admin/refusal.html", context, status=status)


class Autocomplete(AutocompleteJsonView):
    """Offers rows for a field of a form. Some of them have pages that only administrators open."""

    def has_perm(self, request: HttpRequest, obj: Model | None = None) -> bool:
        can_choose = getattr(self.model_admin, "has_choice_permission", None)
        return bool(can_choose(request)) if can_choose else super().has_perm(request, obj)


def find_owner(view: View) -> object:
    """Return the object whose method the view is, also below decorators; None for a function."""
    while not hasattr(view, "__self__") and hasattr(view, "__wrapped__"):
        view = view.__wrapped__
    return getattr(view, "__self__", None)


def require_module(request: HttpRequest, owner: object) -> None:
    """Raise PermissionDenied for a view of an admin class of which the user can open no page.

    `owner` is the object to which the view belongs. Views of pages that a class adds need no check
    of their own, so that none of them can be forgotten.
    """
    if isinstance(owner, ModelAdmin) and not owner.has_module_permission(request):
        raise PermissionDenied


def find_reason(request: HttpRequest) -> str:
    """Return the sentence of the rule that has refused something to the user of the request."""
    assert isinstance(request, Request)
    refusal = request.missing_permission
    return sentence_of(refusal.code, refusal.detail) if refusal else str(NOT_PERMITTED)


@cache
def list_menu() -> list[dict[str, Any]]:
    """Return the groups of the menu of the settings. Their addresses are the same for every
    request, so that they are computed once in a process.
    """
    sidebar = cast(dict[str, Any], settings.UNFOLD["SIDEBAR"])
    return [
        group | {"items": [item | {"link": str(item["link"])} for item in group["items"]]}
        for group in sidebar["navigation"]
    ]


def is_open_to(request: HttpRequest, address: str) -> bool:
    """Return whether the user can open the page of the admin. Other addresses are open to all."""
    model_admin = find_model_admin(urlsplit(address).path)
    return model_admin is None or bool(model_admin.has_view_permission(request))


@lru_cache(maxsize=128)
def find_model_admin(path: str) -> Any:
    """Return the admin class to which the page at this path belongs, if any."""
    try:
        view = resolve(path).func
    except Resolver404:
        return None
    return getattr(view, "model_admin", None)


def show_item(request: HttpRequest, item: dict[str, Any]) -> dict[str, Any]:
    """Return an entry of the menu. Its badge is counted when the template shows it."""
    shown = item | {"active": request.path.startswith(item["link"])}
    if badge := item.get("badge"):
        shown["badge"] = SimpleLazyObject(partial(import_string(badge), request))
    return shown
