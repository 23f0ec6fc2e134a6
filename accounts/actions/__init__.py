"""What can happen to tenants, users and API tokens: each function checks its rule, then records."""
