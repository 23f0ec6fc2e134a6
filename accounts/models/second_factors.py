"""The second factor of a user, and its recovery codes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from django.db import models
from django.utils.translation import gettext_lazy

from accounts.models.users import User
from taskflow.db.creation_time import CreationTime
from taskflow.tenancy import TenantFK, TenantManager, TenantModel, TenantQuerySet


class SecondFactorQuerySet(TenantQuerySet["SecondFactor"]):
    def use_step(self, factor: SecondFactor, step: int) -> bool:
        """Mark a time step as used. Return False if it, or a later one, was used before.

        One UPDATE, so that of two simultaneous requests with one code only one gets True.
        """
        return bool(self.filter(pk=factor.pk, last_step__lt=step).update(last_step=step))


class SecondFactor(TenantModel):
    """The authenticator app of a user. Its secret is not stored: see accounts/one_time_codes.py.

    It is in use when it is confirmed by a first code.
    """

    unrecorded = frozenset({"salt", "last_step"})

    user = TenantFK(User, models.CASCADE, related_name="second_factors")
    salt = models.CharField(max_length=64, editable=False)
    last_step = models.PositiveBigIntegerField(default=0, editable=False)  # no code counts twice
    confirmed_at = models.DateTimeField(null=True, editable=False)
    codes_made_at = models.DateTimeField(null=True, editable=False)  # the recovery codes
    codes_left = models.PositiveSmallIntegerField(default=0, editable=False)  # not used yet
    version = models.PositiveIntegerField(default=1, editable=False)
    created_at = CreationTime()
    updated_at = models.DateTimeField(auto_now=True)

    objects: ClassVar = TenantManager.from_queryset(SecondFactorQuerySet)()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "user"],
                name="second_factor_user_key",  # every sign-in looks it up by this
                violation_error_message=gettext_lazy("You have a second factor already."),
            ),
        ]

    def __str__(self) -> str:
        return f"second factor of user {self.user_id}"

    @property
    def is_confirmed(self) -> bool:
        return self.confirmed_at is not None


class RecoveryCodeQuerySet(TenantQuerySet["RecoveryCode"]):
    def replace(self, factor: SecondFactor, digests: Iterable[str]) -> None:
        """Delete the codes of the factor, and store others. Two statements."""
        self.filter(factor=factor)._raw_delete(self.db)
        self.bulk_create([RecoveryCode(factor=factor, digest=digest) for digest in digests])

    def use(self, factor: SecondFactor, digest: str) -> bool:
        """Delete the code with this digest. Return whether there was one.

        One DELETE, so that of two simultaneous requests with one code only one gets True.
        """
        return bool(self.filter(factor=factor, digest=digest)._raw_delete(self.db))


class RecoveryCode(TenantModel):
    """A code that replaces one of the app, once. Only its keyed digest is stored."""

    factor = TenantFK(SecondFactor, models.CASCADE, related_name="recovery_codes")
    digest = models.CharField(max_length=64, editable=False)

    objects: ClassVar = TenantManager.from_queryset(RecoveryCodeQuerySet)()

    class Meta:
        base_manager_name = "objects"
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "factor", "digest"], name="recovery_code_key"
            ),
        ]

    def __str__(self) -> str:
        return f"recovery code {self.pk}"


def find_second_factor(user: User) -> SecondFactor | None:
    """Return the user's second factor, also one that is not confirmed yet, or None. One query."""
    factor: SecondFactor | None = SecondFactor.objects.filter(user=user).first()
    return factor
