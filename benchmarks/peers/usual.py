"""The usual stack as a good engineer writes it: FastAPI, SQLAlchemy's async ORM, asyncpg."""

from __future__ import annotations

from fastapi import FastAPI

from benchmarks.peers import usual_reading, usual_writing

app = FastAPI()
app.include_router(usual_reading.router)
app.include_router(usual_writing.router)
