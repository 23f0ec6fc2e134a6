from __future__ import annotations

from django.apps import AppConfig


class TaskflowConfig(AppConfig):
    name = "taskflow"

    def ready(self) -> None:
        # Registers the system checks, which can be imported only when all models are loaded.
        from taskflow import database_version, deploy_checks, telemetry  # noqa: F401, PLC0415
        from taskflow.mail import checks as mail_checks  # noqa: F401, PLC0415
        from taskflow.tenancy import checks  # noqa: F401, PLC0415

        telemetry.trace_statements()
