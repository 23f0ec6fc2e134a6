"""Django's PostgreSQL backend, with prepared and deferred statements."""
