from __future__ import annotations

from accounts.admin import events, tenants, tokens, users

__all__ = ["events", "tenants", "tokens", "users"]
