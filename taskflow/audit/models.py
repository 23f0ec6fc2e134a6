"""The one log: every change to a tenant's data is a row here, of the change's transaction."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models import Func, Q

from taskflow.http.attribution import LONGEST_REASON
from taskflow.tenancy import TenantFK, TenantModel


class Via(models.TextChoices):
    """The door a change came through."""

    API = "api"
    ADMIN = "admin"
    MCP = "mcp"
    COMMAND = "command"


class TransactionId(Func):
    """The writing transaction, by which a feed can be read in commit order.

    Serial ids do not commit in order, so a reader of `id > cursor` loses events. SQLite has one
    writer at a time: there the id alone serves.
    """

    arity = 0
    output_field = models.BigIntegerField()

    def as_postgresql(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="(pg_current_xact_id()::text::bigint)")

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        return self.as_sql(compiler, connection, template="0")


class Event(TenantModel):
    """Who changed what, through which door, before and after.

    Never deleted, and never changed but by erase(), which wipes personal data.
    """

    sequence = models.BigIntegerField(db_default=TransactionId(), editable=False)
    actor = TenantFK("accounts.User", models.PROTECT, null=True, related_name="events")
    # An operator of the platform at work in this tenant, where he has no row to point to.
    operator_id = models.BigIntegerField(null=True)
    on_behalf_of = TenantFK("accounts.User", models.PROTECT, null=True, related_name="+")
    via = models.CharField(max_length=7, choices=Via)
    request_id = models.CharField(max_length=64, blank=True)
    reason = models.CharField(max_length=LONGEST_REASON, blank=True)
    verb = models.CharField(max_length=40)  # completed, in `task.completed`
    subject_type = models.CharField(max_length=40)
    subject_id = models.BigIntegerField()
    version = models.PositiveIntegerField()  # of the subject, as the change left it
    project_id = models.BigIntegerField(null=True)  # the number stays when the project is gone
    changes = models.JSONField(default=dict)  # {field: [before, after]}
    undoes = models.JSONField(null=True)  # {id of an event taken back: [its fields that stay]}
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.CheckConstraint(name="event_via_is_known", condition=Q(via__in=Via.values)),
        ]
        indexes = [
            models.Index(fields=["tenant", "sequence", "id"], name="event_feed"),
            models.Index(
                fields=["tenant", "subject_type", "subject_id", "id"], name="event_history"
            ),
            # what has he done? asked to undo it, and when a user is deleted
            models.Index(fields=["tenant", "actor", "id"], name="event_actor"),
            # a project's history
            models.Index(fields=["tenant", "project_id", "id"], name="event_project"),
            # what a request did, to undo it
            models.Index(fields=["tenant", "request_id"], name="event_request"),
        ]

    def __str__(self) -> str:
        return f"{self.subject_type}.{self.verb} {self.subject_id}"
