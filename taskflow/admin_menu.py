"""The settings of Unfold: names, styles, scripts, and the menu of the admin."""

from __future__ import annotations

from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

FAVICON = "taskflow/favicon.svg"
# The names of the URLs of entries of the menu that are no list of a model.
MENU_PAGES = {"inbox": "admin_inbox", "usage": "admin_usage"}
MENU_BADGES = {"inbox": {"badge": "tasks.admin.notifications.show_badge"}}
UNFOLD = {
    "SITE_TITLE": "TaskFlow",
    "SITE_HEADER": "TaskFlow",
    "SITE_SYMBOL": "task_alt",
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": lambda request: static(FAVICON)},
    ],
    "STYLES": [
        lambda request: static("taskflow/accessibility.css"),
        lambda request: static("taskflow/lists.css"),
        lambda request: static("taskflow/menu.css"),
        lambda request: static("tasks/task_page.css"),
    ],
    "SCRIPTS": [
        lambda request: static("taskflow/accessibility.js"),
        lambda request: static("tasks/shortcuts.js"),
    ],
    "SHOW_HISTORY": True,
    "ACCOUNT": {
        "navigation": [{"title": _("My account"), "link": reverse_lazy("admin_account")}],
    },
    "SHOW_LANGUAGES": True,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "accounts.admin.recorded.show_tenant_badge",
    "DASHBOARD_CALLBACK": "tasks.admin.home.page.build_home",
    "COMMAND": {"search_callback": "tasks.admin.command.find_results"},
    "SIDEBAR": {
        "show_search": True,
        "command_search": True,
        "navigation": [
            {
                "title": title,
                "separator": True,
                "items": [
                    {
                        "title": name,
                        "icon": icon,
                        "link": reverse_lazy(MENU_PAGES.get(view, f"admin:{view}_changelist")),
                    }
                    | MENU_BADGES.get(view, {})
                    for name, icon, view in items
                ],
            }
            for title, items in [
                (
                    _("Work"),
                    [
                        (_("Inbox"), "notifications", "inbox"),
                        (_("Projects"), "folder", "tasks_project"),
                        (_("Tasks"), "task_alt", "tasks_task"),
                        (_("Who works on what"), "bolt", "tasks_claim"),
                        (_("Views"), "bookmark", "tasks_view"),
                        (_("Comments"), "chat", "tasks_comment"),
                        (_("Pages"), "description", "tasks_page"),
                        (_("Tags"), "sell", "tasks_tag"),
                        (_("Members"), "group", "tasks_projectmember"),
                        (_("Trash"), "delete", "tasks_trash"),
                    ],
                ),
                (
                    _("People"),
                    [
                        (_("Users"), "person", "accounts_user"),
                        (_("Invitations"), "mail", "tasks_invitation"),
                        (_("Tokens"), "key", "accounts_apitoken"),
                    ],
                ),
                (
                    _("Record"),
                    [
                        (_("Events"), "history", "audit_event"),
                        (_("Webhooks"), "webhook", "tasks_webhook"),
                        (_("Deliveries"), "outbox", "tasks_delivery"),
                        (_("Tenants"), "domain", "accounts_tenant"),
                        (_("Usage"), "data_usage", "usage"),
                    ],
                ),
            ]
        ],
    },
}
