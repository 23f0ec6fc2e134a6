"""Finds where product code uses what Django, ninja, pydantic, psycopg and others do not document.

docs/internals.md lists these uses, and test_internals.py compares both.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any, NamedTuple

from taskflow.tests.test_architecture import module_name, sources, typing_only

OUR_PACKAGES = ("taskflow", "accounts", "tasks")
PRIVATE = re.compile(r"_[^_]|__ninja")
# Documented although they begin with an underscore: Django's Model._meta, ._state and managers,
# os._exit(), and logging._srcfile (“Optimization” in Python's documentation).
DOCUMENTED = {"_meta", "_state", "_base_manager", "_default_manager", "_exit", "_srcfile"}
# Modules, and single names of modules, that the reference of their package does not describe.
UNDOCUMENTED_IMPORTS = {
    "django.contrib.admin.templatetags",
    "django.contrib.admin.utils",
    "django.contrib.admin.views.autocomplete",
    "django.contrib.admin.views.main",
    "django.core.cache.close_caches",
    "django.core.handlers",
    "django.core.management.commands",
    "django.db.backends.postgresql",
    "django.db.backends.sqlite3",
    "django.db.backends.utils",
    "django.db.migrations.executor",
    "django.db.migrations.loader",
    "django.db.models.base",
    "django.db.models.deletion.Collector",
    "django.db.models.expressions.BaseExpression",
    "django.db.models.expressions.DatabaseDefault",
    "django.db.models.sql",
    "django.http.multipartparser",
    "django.http.request.split_domain_port",
    "django.utils.http.parse_header_parameters",
    "granian._granian",
    "ninja.openapi.schema",
    "ninja.operation",
    "ninja.responses",
    "ninja.schema.NinjaGenerateJsonSchema",
    "ninja.utils",
    "psycopg.adapt.Transformer",
    "psycopg.errors.error_from_result",
    "psycopg.generators",
    "psycopg.types",
    "pydantic.MISSING",
    "unfold.forms",
    "unfold.templatetags",
    "unfold.utils",
}
# Attributes that no reference describes, although they do not begin with an underscore.
UNDOCUMENTED_ATTRIBUTES = {
    "__self__",
    "add_update_values",
    "allows_group_by_selected_pks",
    "annotation_col_map",
    "annotation_select",
    "apply_converters",
    "atomic_blocks",
    "auth_callbacks",
    "closed_in_transaction",
    "commit_on_exit",
    "concrete_fields",
    "create_temporal_response",
    "db_returning_fields",
    "deferred_sql",
    "execute_wrappers",
    "fields_cache",
    "force_debug_cursor",
    "get_col",
    "get_compiler",
    "get_converters",
    "get_extra_restriction",
    "health_check_done",
    "insert_values",
    "is_async_callable",
    "klass_info",
    "local_fields",
    "minimum_database_version",
    "original_attrs",
    "pgconn",
    "queries_log",
    "queries_logged",
    "request_class",
    "returning_fields",
    "run_and_clear_commit_hooks",
    "run_on_commit",
    "savepoint_ids",
    "transaction_mode",
    "url_patterns",
    "validate_no_broken_transaction",
    "wrap_database_errors",
}
# Attributes of others that are looked up by their name as a text.
TEXTS = {"_body", "_files", "_post", "_read_started", "_stream"}
TEXTS |= {"_prefetched_objects_cache", "__ninja_flatten_map__"}


def find_uses() -> set[tuple[str, str]]:
    """Return the file and the name of each use."""
    uses: set[tuple[str, str]] = set()
    for file, tree in sources():
        names = {*_imported(tree), *_accessed(tree), *_overridden(file, tree)}
        uses |= {(file, name) for name in names}
    return uses


class Row(NamedTuple):
    """A row of the table: any of the names may be used in any of the files or folders."""

    names: list[str]
    files: list[str]
    test: str

    def has_name(self, name: str) -> bool:
        return name in self.names

    def has_file(self, file: str) -> bool:
        return any(file == f or (f.endswith("/") and file.startswith(f)) for f in self.files)


def read_rows(text: str) -> list[Row]:
    """Return the rows of the tables of a document."""
    rows = []
    for line in text.splitlines():
        cells = [re.findall(r"`([^`]+)`", cell) for cell in line.strip("|").split("|")]
        if line.startswith("| `") and len(cells) == 4:
            names, files, _reason, (test,) = cells
            rows.append(Row(names, files, test))
    return rows


def _imported(tree: ast.Module) -> Iterator[str]:
    """Names that are imported from undocumented modules at run time."""
    unused = typing_only(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and id(node) not in unused:
            for alias in node.names:
                parts = f"{node.module}.{alias.name}".split(".")
                prefixes = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
                if prefixes & UNDOCUMENTED_IMPORTS:
                    yield alias.name


def _accessed(tree: ast.Module) -> Iterator[str]:
    """Undocumented attributes, and private ones of objects other than the method's own."""
    own = _private_definitions(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in TEXTS:
            yield str(node.value)
        if not isinstance(node, ast.Attribute) or node.attr in DOCUMENTED:
            continue
        is_ours = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
        is_ours |= node.attr in own and not _is_of_package(node.value)
        if node.attr in UNDOCUMENTED_ATTRIBUTES or (PRIVATE.match(node.attr) and not is_ours):
            yield node.attr


def _private_definitions(tree: ast.Module) -> set[str]:
    """The private functions and methods that a module defines, without those that it overrides."""
    names = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    return {name for name in names if PRIVATE.match(name)}


def _is_of_package(value: ast.expr) -> bool:
    """Whether an attribute is read from a manager or from super(), which are not ours."""
    is_super = isinstance(value, ast.Call) and ast.unparse(value.func) == "super"
    return is_super or (isinstance(value, ast.Attribute) and value.attr in DOCUMENTED)


def _overridden(file: str, tree: ast.Module) -> Iterator[str]:
    """Members of a package's class that a class of ours replaces."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            kind = getattr(import_module(module_name(file)), node.name)
            yield from (name for name in _members(node) if _is_override(kind, name))


def _members(node: ast.ClassDef) -> Iterator[str]:
    for statement in node.body:
        if isinstance(statement, ast.FunctionDef):
            yield statement.name
        elif isinstance(statement, ast.Assign):
            yield from (t.id for t in statement.targets if isinstance(t, ast.Name))


def _is_override(kind: type[Any], name: str) -> bool:
    if not (PRIVATE.match(name) or name in UNDOCUMENTED_ATTRIBUTES):
        return False
    bases = [base for base in kind.__mro__[1:] if name in vars(base)]
    return any(not base.__module__.startswith(OUR_PACKAGES) for base in bases)
