"""The configuration of Django's admin with our own site."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.admin.apps import AdminConfig

from taskflow.admin.names import translate_names


class TaskflowAdminConfig(AdminConfig):
    default_site = "taskflow.admin.sites.AdminSite"

    def ready(self) -> None:
        super().ready()  # imports the modules of the admin, which register the models
        translate_names(admin.site)
