"""Tenants for benchmarks/waiting.py: prints their tokens as JSON."""

from __future__ import annotations

import json
import os
import sys

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "taskflow.settings")
django.setup()

from accounts.tests.factories import AdministratorFactory, AgentFactory, ApiTokenFactory  # noqa: E402
from taskflow.audit.actor import Actor, TokenScope  # noqa: E402
from taskflow.tenancy import inside  # noqa: E402
from tasks.tests.factories import MemberFactory, ProjectFactory  # noqa: E402

TOKENS_OF_AGENT = 10


def create_tenant(subdomain: str, readers: int) -> tuple[str, list[str]]:
    """Create a tenant with a project. Return a token that writes, and one for each reader."""
    admin = AdministratorFactory(subdomain=subdomain)
    with inside(admin.tenant):
        project = ProjectFactory(actor=admin, key="FEED")
        tokens = []
        while len(tokens) < readers:
            agent = AgentFactory(actor=admin)
            MemberFactory(actor=admin, project=project, user=agent)
            for _ in range(min(TOKENS_OF_AGENT, readers - len(tokens))):
                reader = Actor(agent, admin.tenant)
                tokens.append(ApiTokenFactory(actor=reader, scope=TokenScope.READ)[1])
        _, writer = ApiTokenFactory(actor=admin, scope=TokenScope.WRITE)
        return writer, tokens


readers, tenants = int(sys.argv[1]), int(sys.argv[2])
print(  # noqa: T201
    json.dumps(
        {
            "one": create_tenant("one", readers),
            "spread": [create_tenant(f"many{n}", readers // tenants) for n in range(tenants)],
        }
    )
)
