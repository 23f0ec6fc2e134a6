"""Programs that measure TaskFlow with many tenants and with several servers: `make scale`."""
