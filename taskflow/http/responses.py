"""One row as an answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from django.db import models

from taskflow.db.expressions import Text
from taskflow.db.json import Document
from taskflow.db.query import QueryCache
from taskflow.db.statements import Among, Ids
from taskflow.db.viewer import Viewer
from taskflow.http.errors import NotFound
from taskflow.http.preconditions import etag_of_stamp


class DetailQuery:
    """How to read one row of `rows(viewer)`: its document, and its stamp alone."""

    def __init__(
        self,
        noun: str,
        rows: Callable[[Viewer], models.QuerySet[Any]],
        document: Callable[[Viewer], Document],
    ) -> None:
        self.noun, self.rows, self.document = noun, rows, document
        self.stamps = QueryCache(self._stamp)
        self.documents = QueryCache(self._document)
        self.many = QueryCache(self._many)

    def all_documents(self, viewer: Viewer, ids: Iterable[int]) -> dict[int, str]:
        """Of the rows with these ids, by id."""
        return dict(self.many.rows((), viewer, Ids(tuple(ids))))

    def _many(self, viewer: Viewer, ids: Any) -> Any:
        rows = self.rows(viewer).filter(Among("pk", ids))
        built = rows.annotate(_document=Text(self.document(viewer).json()))
        return built.values_list("pk", "_document")

    def _stamp(self, names: tuple[str, ...], viewer: Viewer, values: Any) -> Any:
        rows = self.rows(viewer).filter(**dict(zip(names, values, strict=True)))
        stamped = rows.annotate(_stamp=self.document(viewer).stamp())
        return stamped.values_list("pk", "version", "_stamp")

    def _document(self, names: tuple[str, ...], viewer: Viewer, values: Any) -> Any:
        document = Text(self.document(viewer).json())
        stamped = self._stamp(names, viewer, values).annotate(_document=document)
        return stamped.values_list("pk", "version", "_stamp", "_document")


@dataclass
class Found:
    """A row to answer with. Asked for only when the answer is made; raises NotFound then."""

    reading: DetailQuery
    viewer: Viewer
    named: Mapping[str, Any]  # its id, or what else it is found by
    otherwise: Callable[[], Found | None] | None = None  # where else it may be

    def etag(self) -> str:
        pk, version, stamp = self._one("stamps")
        return etag_of_stamp(self.reading.noun, pk, version, stamp)

    def read(self) -> tuple[int, str, str]:
        """Its id, its ETag and its document."""
        pk, version, stamp, document = self._one("documents")
        return pk, etag_of_stamp(self.reading.noun, pk, version, stamp), document

    def _one(self, what: str) -> tuple[Any, ...]:
        question: QueryCache = getattr(self.reading, what)
        values = tuple(self.named.values())
        rows = question.rows((tuple(self.named),), self.viewer, values, last=what == "documents")
        if rows:
            return rows[0]  # type: ignore[no-any-return]
        other = self.otherwise() if self.otherwise else None
        if other is None:
            raise NotFound(f"There is no such {self.reading.noun}.")
        return other._one(what)
