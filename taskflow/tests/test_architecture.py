"""
The shape of the house, kept by tests rather than by memory. Reads the source; touches no database.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FLOORS = ["taskflow", "accounts", "tasks"]  # each may import those before it
# Where the doors are hung: these may import all. A command of the frame starts the whole house.
ROOFS = {"taskflow/api.py", "taskflow/urls.py", "taskflow/management/commands/serve.py"}
# Inside an app, each room may import those before it.
STOREYS = [
    "models",
    "rules",
    "actions",
    "find",
    "search",
    "trash",
    "schemas",
    "bundle",
    "filters",
    "documents",
    "doors",
]
DOORS = {"api", "admin", "management", "seeding"}
WRITES = {
    "save",
    "create",
    "update",
    "delete",
    "bulk_create",
    "bulk_update",
    "get_or_create",
    "update_or_create",
}
# What may write rows itself: the write door, what stands below it, the benchmark's filler, and the
# import, which brings the events along.
WRITERS = re.compile(
    r"accounts/(events/(record|links)\.py|tenancy/)|/models(/|\.py)|/migrations/|/seeding/bulk\.py|/bundle/importing\.py"
)
# Tenants are outside the wall; last_used_at is no change of anybody's.
WRITES_OUTSIDE_THE_DOOR = {
    "accounts/actions.py": ["tenant.save"],
    "accounts/auth.py": ["ApiToken.objects.filter.update"],
    # Answers kept for retries are no data.
    "accounts/idempotency.py": [
        "KeptAnswer.objects.filter.update",
        "KeptAnswer.objects.bulk_create",
    ],
    "tasks/bundle/exporting.py": ["digest.update"],  # of a checksum
    "tasks/bundle/verifying.py": ["digest.update", "digest.update"],
}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for floor in FLOORS:
        for path in sorted((ROOT / floor).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if "/tests/" not in name and "/migrations/" not in name:
                yield name, ast.parse(path.read_text(), name)


def imports(tree: ast.Module) -> Iterator[str]:
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def storey_of(module: str) -> int | None:
    room = module.split(".")[1] if module.count(".") else ""
    room = "doors" if room in DOORS else room
    return STOREYS.index(room) if room in STOREYS else None


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a call chain, arguments left out."""
    if isinstance(node, ast.Call):
        return dotted(node.func)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "…"


SOURCES = list(sources())


def test_imports_point_down_between_apps():
    climbing = [
        f"{name} imports {module}"
        for name, tree in SOURCES
        if name not in ROOFS
        for module in imports(tree)
        if module.split(".")[0] in FLOORS[FLOORS.index(name.split("/")[0]) + 1 :]
    ]

    assert not climbing


def test_imports_point_down_inside_the_tasks_app():
    climbing = []
    for name, tree in SOURCES:
        here = storey_of(name.removesuffix(".py").replace("/", "."))
        if not name.startswith("tasks/") or here is None:
            continue
        for module in imports(tree):
            there = storey_of(module) if module.startswith("tasks.") else None
            if there is not None and there > here:
                climbing.append(f"{name} imports {module}")

    assert not climbing


def test_nothing_is_imported_inside_a_function():
    hidden = [
        f"{name}:{node.lineno}"
        for name, tree in SOURCES
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]

    # Checks register themselves when models are loaded, not before.
    assert [h for h in hidden if not h.startswith("accounts/apps.py")] == []


def test_only_the_write_door_writes():
    calls: dict[str, list[str]] = {}
    for name, tree in SOURCES:
        if WRITERS.search(name):
            continue
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            chain = dotted(node.func)
            is_query = node.func.attr in WRITES and "__dict__" not in chain
            if is_query and not re.match(r"(router|[a-z_]+)\.(delete|patch|put)$", chain):
                calls.setdefault(name, []).append(chain)

    unexpected = {n: c for n, c in calls.items() if c != WRITES_OUTSIDE_THE_DOOR.get(n)}
    assert not unexpected


def test_nobody_crosses_tenants():
    """Whoever does is named here, with his reason."""
    allowed: dict[str, str] = {}

    users = {
        name
        for name, tree in SOURCES
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and dotted(node.func).endswith("across_tenants")
    }

    assert users == set(allowed)


@pytest.mark.parametrize("name", [n for n, _ in SOURCES if "/api" in n and n not in ROOFS])
def test_api_functions_are_short(name):
    """Find, call one action, answer. What grows longer belongs into an action."""
    tree = dict(SOURCES)[name]
    for function in tree.body:
        if isinstance(function, ast.FunctionDef) and function.decorator_list:
            body = function.body[1:] if ast.get_docstring(function) else function.body
            assert len(body) <= 8, f"{name}:{function.lineno} {function.name}"
