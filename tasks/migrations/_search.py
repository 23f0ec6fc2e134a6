"""Full-text indexes of tables that are created after 0002_search, a migration that never changes."""

from __future__ import annotations

from importlib.util import find_spec, module_from_spec
from typing import Any

from django.db import migrations


class AddSearchIndex(migrations.RunPython):
    """Create the full-text index of a table. The operation is reversible.

    `title` and `text` are the columns to search. Pass `''`, in SQL quotes, as the title of a table
    without one. Put the operation after the one that creates the table.
    """

    def __init__(self, table: str, title: str, text: str) -> None:
        self.texts = {table: (title, text)}
        search = _search_migration(self.texts)
        super().__init__(search.create, search.drop)


def _search_migration(texts: dict[str, tuple[str, str]]) -> Any:
    """Return a copy of the module 0002_search that creates and drops the indexes of `texts`."""
    spec = find_spec("tasks.migrations.0002_search")
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError("tasks.migrations.0002_search")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    module.TEXTS = texts  # type: ignore[attr-defined]
    return module
