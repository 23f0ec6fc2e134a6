"""The checks of `manage.py check --deploy` about address, HTTPS and the login of the database."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.core import checks
from django.db import DatabaseError, connection

from taskflow.tenancy import OWNER_ROLE, has_roles

LOCAL_DOMAINS = frozenset({"localhost", "127.0.0.1"})
CAN_BECOME_OWNER_SQL = "SELECT pg_has_role(current_user, %s, 'SET'), session_user"


@checks.register("taskflow", deploy=True)
def check_installation(app_configs: object, **kwargs: object) -> list[checks.CheckMessage]:
    """Warn about settings with which an installation should not be reachable by others."""
    return [*_check_address(), *_check_https(), *_check_login()]


def _check_address() -> Iterator[checks.CheckMessage]:
    if settings.DOMAIN in LOCAL_DOMAINS:
        yield checks.Warning(
            "TASKFLOW_DOMAIN is not set, so the server answers only requests to localhost.",
            hint="Set it to the name of the installation, as in tasks.example.com.",
            id="taskflow.W111",
        )


def _check_https() -> Iterator[checks.CheckMessage]:
    if not settings.HTTPS:
        yield checks.Warning(
            "TASKFLOW_HTTPS is not set, so passwords, tokens and cookies may be sent unencrypted.",
            hint="Put a proxy with HTTPS in front, and set TASKFLOW_HTTPS=1.",
            id="taskflow.W112",
        )
    elif not settings.TRUST_PROXY:
        yield checks.Warning(
            "No proxy is trusted, so every request counts as unencrypted and is redirected.",
            hint="Set TASKFLOW_TRUST_PROXY to the addresses of the proxy that ends HTTPS.",
            id="taskflow.W113",
        )


def _check_login() -> Iterator[checks.CheckMessage]:
    """Check the login of DATABASE_URL on PostgreSQL. A superuser may become every role."""
    if connection.vendor != "postgresql":
        return
    try:
        if not has_roles(connection):
            yield checks.Warning(
                "The tables of the database belong to the login of the server, or do not exist.",
                hint="Migrate with a login that may create roles: see docs/deployment.md.",
                id="taskflow.W114",
            )
            return
        with connection.cursor() as cursor:
            cursor.execute(CAN_BECOME_OWNER_SQL, [OWNER_ROLE])
            can_become_owner, login = cursor.fetchone()
    except DatabaseError as error:
        yield checks.Warning(
            f"The login of the database was not checked: {error}", id="taskflow.W115"
        )
        return
    if can_become_owner:
        yield checks.Warning(
            f"The login {login} of the server may become {OWNER_ROLE}, to which the policies of"
            " row-level security do not apply.",
            hint="Serve with a login that has only taskflow_app and taskflow_platform: see"
            " docs/deployment.md.",
            id="taskflow.W116",
        )
