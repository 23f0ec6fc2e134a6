"""The configuration of Django's admin with our own site."""

from __future__ import annotations

from django.contrib.admin.apps import AdminConfig


class TaskflowAdminConfig(AdminConfig):
    default_site = "taskflow.admin.sites.AdminSite"
