"""Actions on tenants, users and API tokens. Each checks its rules, then calls the recorder."""
