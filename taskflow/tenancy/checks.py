"""Does the wall still stand?

`manage.py check` asks it of the models, `migrate` and /readyz of the database.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

from django.apps import apps
from django.core import checks
from django.db import connection, models

from taskflow.tenancy import OWNER_ROLE, TenantFK, TenantManager, has_roles, is_tenant_model

POLICIES_SQL = """
SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity,
       (SELECT array_agg(polname || ' ' || polpermissive || ' ' || polcmd::text || ' '
                         || (SELECT string_agg(coalesce(r.rolname, 'public'), ',')
                             FROM unnest(polroles) u(oid) LEFT JOIN pg_roles r ON r.oid = u.oid)
                         || ' ' || coalesce(pg_get_expr(polqual, polrelid), '')
                         || coalesce(' CHECK ' || pg_get_expr(polwithcheck, polrelid), '')
                         ORDER BY polname)
        FROM pg_policy p WHERE p.polrelid = c.oid)
FROM pg_class c JOIN pg_attribute a
  ON a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND c.relnamespace = current_schema()::regnamespace
"""
OPEN_VIEWS_SQL = """
SELECT c.relname FROM pg_class c
WHERE c.relkind IN ('v', 'm') AND c.relnamespace = current_schema()::regnamespace
  AND NOT coalesce(c.reloptions && ARRAY['security_invoker=true', 'security_invoker=on'], false)
"""
# What runs with the owner's rights has to ask for the tenant itself.
OPEN_FUNCTIONS_SQL = """
SELECT proname FROM pg_proc
WHERE prosecdef AND pronamespace = current_schema()::regnamespace
  AND NOT (prosrc LIKE '%WHERE tenant_id = current_setting(''taskflow.tenant'')::bigint%'
           AND coalesce(array_to_string(proconfig, ' '), '') LIKE 'search_path=pg_catalog, %pg_temp'
           AND NOT has_function_privilege('public', oid, 'EXECUTE'))
"""
# A login that inherits the owner role would see every tenant outside scopes.
INHERITS_OWNER_SQL = """
SELECT pg_has_role(current_user, %s, 'USAGE') AND NOT rolsuper
FROM pg_roles WHERE rolname = current_user
"""
TENANT_ROWS = (
    "tenant_rows true * public (tenant_id = (current_setting('taskflow.tenant'::text))::bigint)"
)
NEVER_WRITTEN = {"admin.LogEntry"}  # the admin's history is read from the event log
OWNER_ROWS = f"owner_rows true * {OWNER_ROLE} true"


def find_breaches() -> list[str]:
    """What is wrong with the database's lock, a sentence each. SQLite has none to be wrong."""
    return list(_breaches()) if connection.vendor == "postgresql" else []


def _breaches() -> Iterator[str]:
    with connection.cursor() as cursor:
        cursor.execute(POLICIES_SQL)
        found = {table: (forced, policies) for table, forced, policies in cursor.fetchall()}
        cursor.execute(OPEN_VIEWS_SQL)
        views = [name for (name,) in cursor.fetchall()]
        cursor.execute(OPEN_FUNCTIONS_SQL)
        functions = [name for (name,) in cursor.fetchall()]
        inherits = False
        if has_roles(connection):
            cursor.execute(INHERITS_OWNER_SQL, [OWNER_ROLE])
            inherits = cursor.fetchone()[0]
    expected = [OWNER_ROWS, TENANT_ROWS] if has_roles(connection) else [TENANT_ROWS]
    wanted = {model._meta.db_table for model in tenant_models()}
    for table in sorted(wanted | found.keys()):
        forced, policies = found.get(table, (False, None))
        if not forced:
            yield f"table {table}: row-level security is not forced"
        if policies != expected:
            yield f"table {table}: policies are {policies}, not {expected}"
    yield from (f"view {name} is not security_invoker" for name in views)
    yield from (f"function {name} runs as its owner, past the tenant" for name in functions)
    if inherits:
        yield f"the login inherits {OWNER_ROLE}: GRANT it WITH INHERIT FALSE"


def tenant_models() -> list[type[models.Model]]:
    return [m for m in apps.get_models(include_auto_created=True) if is_tenant_model(m)]


@checks.register("tenancy")
def check_models(app_configs: Any, **kwargs: Any) -> list[checks.CheckMessage]:
    """Every model that touches tenant data is behind the wall, in fields, indexes and managers."""
    return [
        checks.Error(f"{model._meta.label}: {what}", obj=model, id="tenancy.E001")
        for model in apps.get_models(include_auto_created=True)
        if model._meta.label not in NEVER_WRITTEN
        for what in _mistakes(model)
    ]


def _mistakes(model: type[models.Model]) -> Iterator[str]:
    options = model._meta
    relations = [f for f in options.local_fields if f.many_to_one or f.one_to_one]
    if not is_tenant_model(model):
        for field in relations:
            if _is_tenant(field.related_model) or is_tenant_model(field.related_model):
                yield f"{field.name} points at tenant data, so it must be a TenantModel"
        return
    for field in relations:
        if is_tenant_model(field.related_model) and not isinstance(field, TenantFK):
            yield f"{field.name} must be a TenantFK"
    for field in cast(list[Any], options.local_fields):
        if field.unique and not field.primary_key:
            yield f"{field.name} is unique across tenants"
        if field.db_index and not field.unique:
            yield f"the index of {field.name} does not lead with the tenant"
    uniques = [c for c in options.constraints if isinstance(c, models.UniqueConstraint)]
    for rule in [*options.indexes, *uniques]:
        if _first_column(rule) != "tenant":
            yield f"{rule.name} does not lead with the tenant"
    for manager in (model._default_manager, model._base_manager):
        if not isinstance(manager, TenantManager):
            yield f"{manager} is not a TenantManager"


def _first_column(rule: models.Index | models.UniqueConstraint) -> str | None:
    if rule.fields:
        return rule.fields[0]
    return getattr(rule.expressions[0], "name", None)


def _is_tenant(model: Any) -> bool:
    return isinstance(model, type) and model._meta.label == "accounts.Tenant"  # type: ignore[attr-defined]
