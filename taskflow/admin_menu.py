"""The settings of Unfold: names, styles, scripts, and the menu of the admin."""

from __future__ import annotations

from django.templatetags.static import static
from django.urls import reverse_lazy

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
        lambda request: static("tasks/task_page.css"),
    ],
    "SCRIPTS": [
        lambda request: static("taskflow/accessibility.js"),
        lambda request: static("tasks/shortcuts.js"),
    ],
    "SHOW_HISTORY": True,
    "ACCOUNT": {
        "navigation": [{"title": "My account", "link": reverse_lazy("admin_account")}],
    },
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
            for title, items in {
                "Work": [
                    ("Inbox", "notifications", "inbox"),
                    ("Projects", "folder", "tasks_project"),
                    ("Tasks", "task_alt", "tasks_task"),
                    ("Who works on what", "bolt", "tasks_claim"),
                    ("Views", "bookmark", "tasks_view"),
                    ("Comments", "chat", "tasks_comment"),
                    ("Pages", "description", "tasks_page"),
                    ("Tags", "sell", "tasks_tag"),
                    ("Members", "group", "tasks_projectmember"),
                    ("Trash", "delete", "tasks_trash"),
                ],
                "People": [
                    ("Users", "person", "accounts_user"),
                    ("Invitations", "mail", "tasks_invitation"),
                    ("Tokens", "key", "accounts_apitoken"),
                ],
                "Record": [
                    ("Events", "history", "audit_event"),
                    ("Webhooks", "webhook", "tasks_webhook"),
                    ("Deliveries", "outbox", "tasks_delivery"),
                    ("Tenants", "domain", "accounts_tenant"),
                    ("Usage", "data_usage", "usage"),
                ],
            }.items()
        ],
    },
}
