"""Request bodies, filters and responses for tenants, users, tokens and events."""
