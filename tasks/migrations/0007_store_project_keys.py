"""Store the keys of the projects of earlier versions.

It follows the migration that creates the table, whose foreign key PostgreSQL checks at its end: for
rows of all tenants, although row-level security shows only those of one.
"""

from django.db import migrations

PRESENT_KEYS = """
    INSERT INTO tasks_projectkey (tenant_id, project_id, key)
    SELECT tenant_id, id, key FROM tasks_project WHERE tenant_id = %s
    ON CONFLICT DO NOTHING
"""
# From the events of changed keys. A key that another project has now stays with that project.
FORMER_KEYS = """
    INSERT INTO tasks_projectkey (tenant_id, project_id, key)
    SELECT event.tenant_id, max(project.id), {key}
    FROM audit_event event JOIN tasks_project project
      ON project.tenant_id = event.tenant_id AND project.id = event.subject_id
    WHERE event.tenant_id = %s AND event.subject_type = 'project' AND {key} IS NOT NULL
    GROUP BY event.tenant_id, {key}
    ON CONFLICT DO NOTHING
"""
FORMER_KEY = {
    "postgresql": "event.changes -> 'key' ->> 0",
    "sqlite": "json_extract(event.changes, '$.key[0]')",
}


def store_keys(apps, schema_editor):
    """Store the keys, tenant by tenant: row-level security shows one tenant at a time."""
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM accounts_tenant ORDER BY id")
        for (tenant_id,) in cursor.fetchall():
            if connection.vendor == "postgresql":
                cursor.execute(
                    "SELECT set_config('taskflow.tenant', %s, true)", [str(tenant_id)]
                )
            cursor.execute(PRESENT_KEYS, [tenant_id])
            cursor.execute(FORMER_KEYS.format(key=FORMER_KEY[connection.vendor]), [tenant_id])


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("audit", "0001_initial"),
        ("tasks", "0006_search_words"),
    ]

    operations = [
        migrations.RunPython(store_keys, migrations.RunPython.noop, elidable=False),
    ]
