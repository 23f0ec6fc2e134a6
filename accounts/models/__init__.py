"""The models of accounts. Each module beside `users` has the tables of one subject."""

from __future__ import annotations

from accounts.limits import AttemptCounter
from accounts.models.idempotency_records import IdempotencyRecord
from accounts.models.mail_tokens import MailPurpose, MailToken
from accounts.models.second_factors import RecoveryCode, SecondFactor, find_second_factor
from accounts.models.sessions import Session
from accounts.models.tokens import ApiToken
from accounts.models.users import (
    HANDLE,
    PLATFORM,
    RESERVED_HANDLES,
    SUBDOMAIN,
    Tenant,
    User,
    UserKind,
    check_time_zone,
    password_forms,
)

__all__ = [
    "HANDLE",
    "PLATFORM",
    "RESERVED_HANDLES",
    "SUBDOMAIN",
    "ApiToken",
    "AttemptCounter",
    "IdempotencyRecord",
    "MailPurpose",
    "MailToken",
    "RecoveryCode",
    "SecondFactor",
    "Session",
    "Tenant",
    "User",
    "UserKind",
    "check_time_zone",
    "find_second_factor",
    "password_forms",
]
