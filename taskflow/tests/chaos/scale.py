"""How long each fault lasts, and how often it is repeated."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    kill_rounds: int  # of the whole server, on each database
    worker_kills: int
    round_seconds: float  # on average, of writes before a kill
    silent_seconds: float  # for which the database does not answer, or is away
    read_only_seconds: float
    lock_seconds: float  # for which a row is locked
    slow_seconds: float  # for which clients are slow
    restarts: int


FULL = Scale(
    kill_rounds=25,
    worker_kills=10,
    round_seconds=3,
    silent_seconds=20,
    read_only_seconds=10,
    lock_seconds=10,
    slow_seconds=6,
    restarts=3,
)
SHORT = Scale(
    kill_rounds=2,
    worker_kills=1,
    round_seconds=1.5,
    silent_seconds=9,
    read_only_seconds=2,
    lock_seconds=5,
    slow_seconds=1,
    restarts=1,
)
