"""Checks that tenant isolation is complete.

`manage.py check` runs check_models(); `migrate` and /readyz run find_violations() on the database.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.apps import apps
from django.conf import settings
from django.core import checks
from django.db import connection, models

from taskflow.db.columns import columns_of
from taskflow.tenancy import (
    APP_ROLE,
    OWNER_ROLE,
    PLATFORM_ROLE,
    TenantFK,
    TenantManager,
    has_roles,
    is_tenant_model,
)

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
# A function that runs with the owner's rights has to filter by the tenant itself.
OPEN_FUNCTIONS_SQL = """
SELECT proname FROM pg_proc
WHERE prosecdef AND pronamespace = current_schema()::regnamespace
  AND NOT (prosrc LIKE '%WHERE tenant_id = current_setting(''taskflow.tenant'')::bigint%'
           AND coalesce(array_to_string(proconfig, ' '), '') LIKE 'search_path=pg_catalog, %pg_temp'
           AND NOT has_function_privilege('public', oid, 'EXECUTE'))
"""
# A login that inherits one of these roles would see every tenant outside a unit of work.
INHERITED_ROLES_SQL = """
SELECT r.rolname FROM pg_roles r JOIN pg_roles login ON login.rolname = current_user
WHERE r.rolname = ANY(%s) AND pg_has_role(current_user, r.oid, 'USAGE') AND NOT login.rolsuper
ORDER BY r.rolname
"""
# A unit of work runs as this role. The result is null if there is no such role.
MAY_BECOME_SQL = "SELECT pg_has_role(current_user, to_regrole(%s), 'MEMBER')"
TENANT_ROWS = (
    "tenant_rows true * public (tenant_id = (current_setting('taskflow.tenant'::text))::bigint)"
)
# Apps that are not migrated, so that nothing can be written to their models.
APPS_WITHOUT_TABLES = {app for app, module in settings.MIGRATION_MODULES.items() if module is None}
OWNER_ROWS = f"owner_rows true * {OWNER_ROLE} true"
PLATFORM_ROWS = f"platform_rows true r {PLATFORM_ROLE} true"


def find_violations() -> list[str]:
    """Return what is wrong with row-level security in the database, one phrase each.

    SQLite has no row-level security, so the list is empty. Runs six queries.
    """
    return list(_find_violations()) if connection.vendor == "postgresql" else []


def _find_violations() -> Iterator[str]:
    uses_roles = has_roles(connection)
    with connection.cursor() as cursor:
        cursor.execute(POLICIES_SQL)
        actual = {table: (is_forced, policies) for table, is_forced, policies in cursor.fetchall()}
        cursor.execute(OPEN_VIEWS_SQL)
        views = [name for (name,) in cursor.fetchall()]
        cursor.execute(OPEN_FUNCTIONS_SQL)
        functions = [name for (name,) in cursor.fetchall()]
        inherited = []
        if uses_roles:
            cursor.execute(INHERITED_ROLES_SQL, [[OWNER_ROLE, PLATFORM_ROLE]])
            inherited = [name for (name,) in cursor.fetchall()]
            cursor.execute(MAY_BECOME_SQL, [APP_ROLE])
            if not cursor.fetchone()[0]:
                yield f"the login is not a member of {APP_ROLE}, or there is no such role"
    expected = [OWNER_ROWS, PLATFORM_ROWS, TENANT_ROWS] if uses_roles else [TENANT_ROWS]
    tables = {model._meta.db_table for model in tenant_models()}
    for table in sorted(tables | actual.keys()):
        is_forced, policies = actual.get(table, (False, None))
        if not is_forced:
            yield f"table {table}: row-level security is not forced"
        if policies != expected:
            yield f"table {table}: policies are {policies}, not {expected}"
    yield from (f"view {name} is not security_invoker" for name in views)
    yield from (f"function {name} runs as its owner and ignores the tenant" for name in functions)
    yield from (f"the login inherits {name}: GRANT it WITH INHERIT FALSE" for name in inherited)


def tenant_models() -> list[type[models.Model]]:
    """Return all models whose rows belong to tenants."""
    return [m for m in apps.get_models(include_auto_created=True) if is_tenant_model(m)]


@checks.register("tenancy")
def check_models(app_configs: object, **kwargs: object) -> list[checks.CheckMessage]:
    """Report fields, indexes, constraints and managers that would expose rows to other tenants."""
    return [
        checks.Error(f"{model._meta.label}: {mistake}", obj=model, id="tenancy.E001")
        for model in apps.get_models(include_auto_created=True)
        if model._meta.app_label not in APPS_WITHOUT_TABLES
        for mistake in _find_mistakes(model)
    ]


def _find_mistakes(model: type[models.Model]) -> Iterator[str]:
    options = model._meta
    relations = [f for f in columns_of(model) if f.many_to_one or f.one_to_one]
    if not is_tenant_model(model):
        for field in relations:
            if _is_tenant_class(field.related_model) or is_tenant_model(field.related_model):
                yield f"{field.name} references a tenant's rows, so this must be a TenantModel"
        return
    for field in relations:
        if is_tenant_model(field.related_model) and not isinstance(field, TenantFK):
            yield f"{field.name} must be a TenantFK"
    for field in columns_of(model):
        if field.unique and not field.primary_key:
            yield f"{field.name} is unique across tenants"
        if field.db_index and not field.unique:
            yield f"the index of {field.name} does not begin with the tenant"
    uniques = [c for c in options.constraints if isinstance(c, models.UniqueConstraint)]
    for index in [*options.indexes, *uniques]:
        if _first_column_of(index) != "tenant":
            yield f"{index.name} does not begin with the tenant"
    for names in options.unique_together:
        if names[0] != "tenant":
            yield f"unique_together {names} does not begin with the tenant"
    for manager in (model._default_manager, model._base_manager):
        if not isinstance(manager, TenantManager):
            yield f"{manager} is not a TenantManager"


def _first_column_of(index: models.Index | models.UniqueConstraint) -> str | None:
    if index.fields:
        return index.fields[0]
    return getattr(index.expressions[0], "name", None)


def _is_tenant_class(model: object) -> bool:
    return isinstance(model, type) and model._meta.label == "accounts.Tenant"  # type: ignore[attr-defined]
