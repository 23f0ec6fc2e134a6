"""Shared by the tests of exports: a tenant with unusual values, and files exported from it."""

from __future__ import annotations

import hashlib
import io
import json

from django.core.management import call_command

from accounts.actions.erasure import erase_user
from accounts.actions.tenants import create_operator
from accounts.actions.tokens import create_token, revoke_token
from accounts.actions.users import create_user, deactivate_user
from accounts.models import Tenant
from conftest import build_fixtures
from taskflow.audit.actor import Actor, TokenScope
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.invitations import invite, revoke_invitation
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project, delete_project
from tasks.actions.trash import purge
from tasks.actions.undo.undoing import undo
from tasks.actions.views import create_view
from tasks.changes.tasks import create_task, delete_task, move_task, update_task
from tasks.export.exporting import export_tenant
from tasks.export.importing import import_tenant
from tasks.export.verifying import verify
from tasks.models import (
    Comment,
    Notification,
    NotificationPosition,
    NotificationPreference,
    Role,
)

CONTROLS = "".join(map(chr, [*range(1, 32), 127, 0x85, 0x2028, 0x2029, 0xFEFF, 0xFFFF]))
ODD_METADATA = {
    "z": [1, 2.5, 1.0, None, True, {"ü": "\U0001f680"}, [], {}, ""],
    "numbers": [1.5e17, 2**63 - 1, -(2**63), -0.0, 5e-324, 1e-7, 0.1 + 0.2, 1234567890123456789.0],
    "sha256": "x",
    "model": "tasks.task",
    "": {"format": "taskflow-export", "row": {"id": 1}},
    "controls": CONTROLS,
}


def nested(levels):
    value = {}
    for _ in range(levels - 1):
        value = {"a": value}
    return value


def build_unusual_tenant():
    """Create a tenant with rows of every model and with unusual values."""
    fixtures = build_fixtures()
    with inside(fixtures.acme):
        _fill(fixtures)
    operator = create_operator(
        email="op@platform.example", full_name="Op", password="long enough 7"
    )
    with inside(fixtures.acme):
        create_task(Actor(operator, fixtures.acme), fixtures.apollo, title="by an operator")
    return fixtures


def _fill(fixtures):
    other = create_project(fixtures.ada, name="Ünïcode \U0001f680 “x”\u2028")
    later = create_task(fixtures.ada, fixtures.apollo, title="later", tags=["a", "B"])
    first = create_task(
        fixtures.ada, fixtures.apollo, title="odd", description='\\ "quotes"\n\ttabs' + CONTROLS,
        metadata=ODD_METADATA, due_date="2199-12-31T23:59:59.123456Z", blocked_by=[later],
        external_ref="r-1", links=[{"url": "https://ä.example/x", "title": "\U0001f680"}],
    )  # fmt: skip
    update_task(fixtures.ada, fixtures.task, parent=first, due_on="1970-01-01")
    move_task(fixtures.ada, later, other)
    create_comment(fixtures.bob, first, body=" kept\n")
    create_view(fixtures.ada, name="V", where={"due_before": "7d", "project": ["APO"]}, sort="due")
    page = create_page(fixtures.ada, other, title="P", is_published=True)
    NotificationPreference.store(fixtures.ada.user, {"digest": "daily", "muted": ["overdue"]})
    NotificationPosition.lock("0", first.created_at)
    comment = Comment.objects.earliest("pk")
    Notification.objects.add(
        [
            Notification(
                user=fixtures.ada.user,
                kind="mentioned",
                actor=fixtures.bob.user,
                created_at=first.created_at,
                **about,
            )
            for about in ({"task": first, "comment": comment}, {"page": page}, {"project": other})
        ]
    )
    gone = create_task(fixtures.ada, fixtures.apollo, title="gone", metadata=nested(15), tags=["a"])
    update_task(fixtures.ada, fixtures.task, blocked_by=[gone])
    delete_task(fixtures.ada, gone)
    update_task(fixtures.ada, fixtures.task, priority="high")
    undo(fixtures.ada, [Event.objects.latest("pk")])
    _fill_with_what_has_ended(fixtures)


def _fill_with_what_has_ended(fixtures):
    trashed, purged = (create_project(fixtures.ada, name=name) for name in ("Trashed", "Purged"))
    create_task(fixtures.ada, trashed, title="hidden")
    create_token(
        fixtures.ada, name="t", scope=TokenScope.READ, project_ids=[fixtures.apollo.pk, purged.pk]
    )
    joined = [(fixtures.apollo.pk, Role.ADMIN), (purged.pk, Role.MEMBER)]
    revoke_invitation(
        fixtures.boss, invite(fixtures.boss, email="nora@acme.example", projects=joined)
    )
    token, _ = create_token(fixtures.ada, name="revoked", scope=TokenScope.WRITE)
    revoke_token(fixtures.ada, token)
    delete_project(fixtures.ada, trashed)
    delete_project(fixtures.ada, purged)
    purge(fixtures.ada, purged)
    left = create_user(fixtures.boss, handle="left", email="left@acme.example", full_name="\u202e")
    erased = create_user(fixtures.boss, handle="erased", email="erased@acme.example")
    deactivate_user(fixtures.boss, left)
    erase_user(fixtures.boss, deactivate_user(fixtures.boss, erased))


def export(tenant, **how):
    file = io.BytesIO()
    export_tenant(tenant, file, lambda _: None, **how)
    return file.getvalue()


def load(data, **how):
    file = io.BytesIO(data)
    return import_tenant(file, verify(file), lambda _: None, **how)


def wipe():
    call_command("flush", verbosity=0, interactive=False)
    assert not Tenant.objects.exists()


def documents_of(data):
    return [json.loads(line) for line in data.splitlines()]


def signed(documents):
    """Return a file of these lines with a last line that has their counts and checksum."""
    *lines, end = documents
    counts = dict.fromkeys(end["counts"], 0)
    for document in lines[1:]:
        counts[document["model"]] = counts.get(document["model"], 0) + 1
    data = b"".join(json.dumps(document).encode() + b"\n" for document in lines)
    end = {"counts": counts, "sha256": hashlib.sha256(data).hexdigest()}
    return data + json.dumps(end).encode() + b"\n"
