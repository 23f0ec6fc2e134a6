from __future__ import annotations

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"

    def ready(self) -> None:
        from accounts import wallcheck  # noqa: F401, PLC0415 - registers the checks; models must be loaded
