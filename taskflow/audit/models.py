"""The event log. Every change of a tenant's data adds a row, in the transaction of the change."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Func, Q

from taskflow.db.types import SqlAndParams
from taskflow.http.addresses import MAX_ADDRESS_LENGTH
from taskflow.http.attribution import MAX_REASON_LENGTH
from taskflow.tenancy import TenantFK, TenantModel

if TYPE_CHECKING:
    from django.db.models.sql.compiler import SQLCompiler


class Via(models.TextChoices):
    """The channel through which a change was made."""

    API = "api"
    ADMIN = "admin"
    MCP = "mcp"
    COMMAND = "command"


class TransactionId(Func):
    """The id of the writing transaction, by which a feed can be read in commit order.

    Serial ids are not committed in order, so a reader of `id > cursor` would miss events. SQLite
    has one writer at a time, so the id alone is in commit order there.
    """

    arity = 0
    output_field = models.BigIntegerField()

    def as_postgresql(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        return self.as_sql(compiler, connection, template="(pg_current_xact_id()::text::bigint)")

    def as_sqlite(
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: str | None
    ) -> SqlAndParams:
        return self.as_sql(compiler, connection, template="0")


class Event(TenantModel):
    """One change of one row: who made it, when, through which channel, and both values.

    Only taskflow/audit/erasure.py changes events, to remove personal data, and only
    taskflow/audit/retention.py deletes them, where the operator has limited how long they are kept.
    """

    # Ids of transactions of two database servers cannot be compared: see Tenant.event_epoch.
    epoch = models.IntegerField(default=1, db_default=1, editable=False)
    sequence = models.BigIntegerField(db_default=TransactionId(), editable=False)
    actor = TenantFK("accounts.User", models.PROTECT, null=True, related_name="events")
    # An operator of the platform, who has no row in this tenant to refer to.
    operator_id = models.BigIntegerField(null=True)
    on_behalf_of = TenantFK("accounts.User", models.PROTECT, null=True, related_name="+")
    # Who created the token of the change for its user; null for a token that its user created.
    token_issued_by = TenantFK("accounts.User", models.PROTECT, null=True, related_name="+")
    via = models.CharField(max_length=7, choices=Via)
    request_id = models.CharField(max_length=64, blank=True)
    reason = models.CharField(max_length=MAX_REASON_LENGTH, blank=True)
    # Of the client, for events of users and tokens; null for others and for commands.
    address = models.CharField(max_length=MAX_ADDRESS_LENGTH, null=True)
    verb = models.CharField(max_length=40)  # for example completed, in `task.completed`
    subject_type = models.CharField(max_length=40)
    subject_id = models.BigIntegerField()
    version = models.PositiveIntegerField()  # of the subject, after the change
    # The project of the row after the change. No foreign key: it outlives the project.
    project_id = models.BigIntegerField(null=True)
    # Whether only published content is in the event. Null for rows that are never drafts.
    was_published = models.BooleanField(null=True)
    changes = models.JSONField(default=dict)  # {field: [before, after]}
    undoes = models.JSONField(
        null=True
    )  # {id of an undone event: [its fields that were not undone]}
    created_at = models.DateTimeField(auto_now_add=True)

    cursor = ""  # its position in the feed; taskflow/audit/feed.py sets it

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.CheckConstraint(name="event_via_is_known", condition=Q(via__in=Via.values)),
        ]
        indexes = [
            # the feed, in the order of commits
            models.Index(fields=["tenant", "epoch", "sequence", "id"], name="event_feed"),
            models.Index(
                fields=["tenant", "subject_type", "subject_id", "id"], name="event_history"
            ),
            # a user's changes: to undo them, and to check before the user is deleted
            models.Index(fields=["tenant", "actor", "id"], name="event_actor"),
            # a project's history
            models.Index(fields=["tenant", "project_id", "id"], name="event_project"),
            # the changes of a request, to undo them
            models.Index(fields=["tenant", "request_id"], name="event_request"),
        ]

    def __str__(self) -> str:
        return f"{self.subject_type}.{self.verb} {self.subject_id}"
