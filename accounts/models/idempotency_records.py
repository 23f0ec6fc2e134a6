"""Responses that are stored for retries."""

from __future__ import annotations

from django.db import models

from taskflow.tenancy import TenantModel


class IdempotencyRecord(TenantModel):
    """The response to a write with an Idempotency-Key. Retries get it instead of writing again.

    It is committed in the write's own transaction.
    """

    user_id = models.BigIntegerField()  # no foreign key: an operator has no row in this tenant
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)  # of the request
    status = models.PositiveSmallIntegerField(null=True)  # null until the write has succeeded
    # What the user could see when the write had succeeded. A retry needs at least the same.
    was_staff = models.BooleanField(default=False, db_default=False)
    project_ids = models.JSONField(null=True)  # [int], of a member; null if it is not compared
    headers = models.JSONField(default=dict)
    body = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "user_id", "key"], name="idempotency_record_key"
            ),
        ]
        indexes = [
            # expired records, which are deleted
            models.Index(fields=["tenant", "created_at"], name="idempotency_record_age"),
        ]

    def __str__(self) -> str:
        return self.key
