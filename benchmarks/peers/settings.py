"""The peers' settings of the database."""

from __future__ import annotations

import os

DATABASE_URL = os.environ.get("PEER_DATABASE_URL", "postgresql://postgres@/bench")
CONNECTIONS = 8  # more than most rows have clients; with 16 and 64, requests wait for one
