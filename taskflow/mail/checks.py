"""The check of `manage.py check --deploy` about e-mail."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import Tags, Warning, register

NO_MAIL = Warning(
    "No mail server is set, so that nobody can reset a password or be invited by e-mail.",
    hint="Set TASKFLOW_EMAIL_URL, as in smtp://user:password@mail.example.org:587.",
    id="taskflow.W101",
)
LOCAL_MAIL = Warning(
    "Mails are printed or written to files, and reach nobody.",
    hint="Set TASKFLOW_EMAIL_URL, as in smtp://user:password@mail.example.org:587.",
    id="taskflow.W102",
)


@register(Tags.security, deploy=True)
def check_mail(app_configs: Any, **kwargs: Any) -> list[Warning]:
    """Return a warning if mails reach nobody."""
    if not settings.SENDS_MAIL:
        return [NO_MAIL]
    return [] if settings.EMAIL_HOST else [LOCAL_MAIL]
