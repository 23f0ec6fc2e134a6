"""The layers of the project. These tests read the source code and use no database."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).parents[2]
# A package may import itself and the packages before it. The modules directly in taskflow/ and its
# commands are the composition root, which may import everything and which nothing else imports.
PACKAGES = [
    "taskflow.metrics",
    "taskflow.db",
    "taskflow.mail",
    "taskflow.http",
    "taskflow.front",
    "taskflow.admin",
    "taskflow.tenancy",
    "taskflow.audit",
    "accounts",
    "tasks",
]
# Inside an app, a module may import the layers before its own. Each set is one layer.
LAYERS: list[set[str]] = [
    {"models", "limits", "tokens", "one_time_codes"},
    {"rules", "reserved", "passwords"},
    {"mail_limits"},
    {"actions", "changes"},
    {"queries"},
    {"schemas"},
    {
        "attribution",
        "auth",
        "idempotency",
        "issued_secrets",
        "kept_session",
        "middleware",
        "sign_in",
        "csv",
        "export",
        "scheduled",
        "webhooks",
    },
    {
        "api",
        "api_mail",
        "api_second_factors",
        "api_sessions",
        "api_sign_ins",
        "admin",
        "management",
        "seeding",
    },
]
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
# Statements that change the session, not the transaction: a pooler would give it to other clients.
SESSION_STATEMENTS = re.compile(
    r"\s*(SET (?!LOCAL |TRANSACTION |CONSTRAINTS )|RESET |LISTEN |DISCARD |CREATE TEMP)|.*WITH HOLD"
    r"|.*(pg_(try_)?advisory_lock\(|set_config\(.*, false\))",
    re.S,
)
# They refuse to run through a pooler: see taskflow/management/pooler.py.
USES_OF_THE_SESSION = {
    "taskflow/management/commands/flush.py": ["SET ROLE ", "RESET ROLE"],
    "taskflow/management/commands/migrate.py": [
        "SET ",
        "SET taskflow.tenant = '0'",
        "RESET ",
        "SET ROLE ",
    ],
    # Not behind a pooler: taskflow/commits.py chooses another way then.
    "taskflow/audit/commits/postgresql.py": ["LISTEN "],
    # This one may, since no result depends on it: PostgreSQL only plans its statements again.
    "taskflow/db/many_rows.py": ["DISCARD PLANS"],
}
# What writes rows below the recorder.
WRITERS = re.compile(r"taskflow/(audit/(recorder|event_log|links)\.py|tenancy/)|/models(/|\.py)")
# What else writes rows, each with its calls and its reason.
WRITES_WITHOUT_RECORDER = {
    "accounts/actions/tenants.py": ["tenant.save"],  # a tenant belongs to no tenant
    "accounts/kept_session.py": ["request.session.save"],  # a session belongs to no tenant
    "accounts/auth.py": ["ApiToken.objects.filter.update"],  # last_used_at is not recorded
    # Responses that are stored for retries are not data of the tenant.
    "accounts/limits.py": ["AttemptCounter.objects.filter.delete"],  # belongs to no tenant
    "accounts/idempotency.py": [
        "IdempotencyRecord.objects.filter.update",
        "IdempotencyRecord.objects.bulk_create",
    ],
    # Secrets of links in mails. What a link does is recorded.
    "accounts/actions/mail_tokens.py": ["MailToken.objects.bulk_create"],
    "accounts/actions/erasure.py": [
        "IdempotencyRecord.objects.filter.delete",
        "Event.objects.filter.exclude.update",
    ],
    # Erasure changes events, and rows of tables whose changes are not recorded.
    "taskflow/audit/erasure.py": [
        "events.exclude.update",
        "Event.objects.bulk_update",
        "model._base_manager.bulk_update",
    ],
    # Up to which time events are missing: a fact of the log, which no undo changes.
    "taskflow/audit/retention.py": ["_tenant.update"],
    # Checksums of files.
    "tasks/export/backup_file.py": ["digest.update", "digest.update"],
    "tasks/export/format.py": ["self.digest.update"],
    # The import brings the events of the rows with it, and adds those of renamed tags.
    "tasks/export/epochs.py": ["Tenant.objects.filter.update"],
    "tasks/export/importing.py": ["Event.objects.bulk_create", "model._base_manager.filter.update"],
    # A tenant that no request can use, and the sessions of Django, which belong to no tenant.
    "tasks/export/deletion.py": ["BrowserSession.objects.filter.delete", "due.update"],
    # Rows of a tenant that no request has seen.
    "tasks/export/unfinished.py": ["Tenant.objects.filter.update", "batch.update"],
    "tasks/export/verifying.py": ["digest.update", "digest.update"],
}


@cache
def sources() -> list[tuple[str, ast.Module]]:
    """The modules of the product: their paths, and their syntax trees."""
    return list(_parse_sources())


def _parse_sources() -> Iterator[tuple[str, ast.Module]]:
    for package in ("taskflow", "accounts", "tasks"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = path.relative_to(ROOT).as_posix()
            if "/tests/" not in name and "/migrations/" not in name:
                yield name, ast.parse(path.read_text(), name)


def imports(tree: ast.Module) -> Iterator[str]:
    """The modules that are imported at run time."""
    unused = typing_only(tree)
    for node in ast.walk(tree):
        if id(node) in unused:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def typing_only(tree: ast.Module) -> set[int]:
    """The identities of the nodes under `if TYPE_CHECKING:`, which do not run."""
    return {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for statement in node.body
        for inner in ast.walk(statement)
    }


def package_of(module: str) -> int | None:
    """The position of the module's package; None for the composition root."""
    for position, package in enumerate(PACKAGES):
        if module == package or module.startswith(package + "."):
            return position
    return None


def layer_of(module: str) -> int | None:
    """The position of the module's layer in its app."""
    for position, layer in enumerate(LAYERS):
        if module.split(".")[1:2] and module.split(".")[1] in layer:
            return position
    return None


def module_name(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a call chain, arguments left out."""
    if isinstance(node, ast.Call):
        return dotted(node.func)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "…"


def test_packages_import_only_those_below_them():
    modules = {module_name(name) for name, _ in sources()}
    root_modules = {module for module in modules if package_of(module) is None}

    wrong = [
        f"{name} imports {module}"
        for name, tree in sources()
        if (here := package_of(module_name(name))) is not None
        for module in imports(tree)
        if (module in root_modules - {"taskflow"}) or (package_of(module) or 0) > here
    ]

    assert not wrong


@pytest.mark.parametrize("app", ["accounts", "tasks"])
def test_layers_of_an_app_import_only_those_below_them(app):
    wrong = []
    for name, tree in sources():
        here = layer_of(module_name(name))
        if not name.startswith(f"{app}/") or here is None:
            continue
        for module in imports(tree):
            there = layer_of(module) if module.startswith(f"{app}.") else None
            if there is not None and there > here:
                wrong.append(f"{name} imports {module}")

    assert not wrong


def test_every_module_of_an_app_has_a_layer():
    without = [
        name
        for name, _ in sources()
        if name.split("/")[0] in ("accounts", "tasks")
        and layer_of(module_name(name)) is None
        and module_name(name) not in ("accounts", "tasks")
    ]

    assert not without


def test_nothing_is_imported_inside_a_function():
    hidden = [
        f"{name}:{node.lineno}"
        for name, tree in sources()
        for function in ast.walk(tree)
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]

    # System checks can be imported only when all models are loaded.
    assert [h for h in hidden if not h.startswith("taskflow/apps.py")] == []


def test_only_the_recorder_and_listed_modules_write():
    calls: dict[str, list[str]] = {}
    for name, tree in sources():
        if WRITERS.search(name):
            continue
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                continue
            chain = dotted(node.func)
            is_query = node.func.attr in WRITES and "__dict__" not in chain
            if is_query and not re.match(r"(router|[a-z_]+)\.(delete|patch|put)$", chain):
                calls.setdefault(name, []).append(chain)

    unexpected = {n: c for n, c in calls.items() if c != WRITES_WITHOUT_RECORDER.get(n)}
    assert not unexpected


def test_only_the_listed_commands_change_the_session_of_the_database():
    found: dict[str, list[str]] = {}
    for name, tree in sources():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str | bytes):
                continue
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            if SESSION_STATEMENTS.match(text):
                found.setdefault(name, []).append(text)

    assert {n: sorted(t) for n, t in found.items()} == {
        n: sorted(t) for n, t in USES_OF_THE_SESSION.items()
    }


def test_across_tenants_is_called_only_by_the_listed_modules():
    """Each use is listed here with its reason."""
    allowed = {
        "tasks/scheduled/tenants.py": "finds the tenants in which there is something to do",
        "tasks/export/sequences.py": "only the owner of a table may set its sequence",
        "tasks/management/commands/verify.py": "counts rows that belong to no tenant",
    }

    users = {
        name
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and dotted(node.func).endswith("across_tenants")
    }

    assert users == set(allowed)


def test_api_functions_are_short():
    """Look up, call one action, respond. Anything longer belongs in an action."""
    long = [
        f"{name}:{function.lineno} {function.name}"
        for name, tree in sources()
        if "/api" in name and package_of(module_name(name)) is not None
        for function in tree.body
        if isinstance(function, ast.FunctionDef) and function.decorator_list
        if len(function.body) - bool(ast.get_docstring(function)) > 8
    ]

    assert not long
