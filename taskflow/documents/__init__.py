"""Answers built by the database: how a schema is read (schema), in which SQL (sql), given as one
row (reading) or as a page of many (taskflow.paging).
"""

from __future__ import annotations

from taskflow.documents.reading import Found, Reading, Who
from taskflow.documents.schema import Document, Items
from taskflow.documents.sql import Joined, JsonObject

__all__ = ["Document", "Found", "Items", "Joined", "JsonObject", "Reading", "Who"]
