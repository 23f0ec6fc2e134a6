"""Let the platform role read the rows of the tables that earlier migrations have created.

A table that is created later gets the policy and the grants with it.
"""

from typing import Any

from django.db import migrations

from taskflow.tenancy import PLATFORM_ROLE, has_roles

GRANTS = f"""
GRANT SELECT ON ALL TABLES IN SCHEMA public TO {PLATFORM_ROLE};
GRANT SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {PLATFORM_ROLE};
"""
TABLES_WITHOUT_POLICY = """
SELECT quote_ident(c.relname) FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
WHERE p.polname = 'tenant_rows' AND c.relnamespace = current_schema()::regnamespace
  AND NOT EXISTS (SELECT FROM pg_policy o
                  WHERE o.polrelid = p.polrelid AND o.polname = 'platform_rows')
"""


def add_policies(apps: Any, editor: Any) -> None:
    if editor.connection.vendor != "postgresql" or not has_roles(editor.connection):
        return
    with editor.connection.cursor() as cursor:
        cursor.execute(GRANTS)
        cursor.execute(TABLES_WITHOUT_POLICY)
        for (table,) in cursor.fetchall():
            cursor.execute(
                f"CREATE POLICY platform_rows ON {table} FOR SELECT TO {PLATFORM_ROLE} USING (true)"
            )


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_user_name_folded"),
        ("audit", "0001_initial"),
        ("tasks", "0012_invitations"),
    ]

    operations = [migrations.RunPython(add_policies, migrations.RunPython.noop)]
