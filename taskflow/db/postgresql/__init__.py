"""TaskFlow's PostgreSQL backend: Django's, with other features (base)."""
