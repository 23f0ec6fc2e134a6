"""The keys that projects have or had, so that no key is ever given to another project."""

import re

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import taskflow.tenancy.constraints
import taskflow.tenancy.models

PRESENT_KEYS = """
    INSERT INTO tasks_projectkey (tenant_id, project_id, key)
    SELECT tenant_id, id, key FROM tasks_project WHERE tenant_id = %s
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
        ("tasks", "0002_search"),
    ]

    operations = [
        migrations.CreateModel(
            name="ProjectKey",
            fields=[
                ("tenant", taskflow.tenancy.models.TenantField()),
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("project", taskflow.tenancy.models.TenantFK(db_constraint=False, db_index=False, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name="keys", to="tasks.project")),
                ("key", models.CharField(max_length=10)),
            ],
            options={
                "base_manager_name": "objects",
                "indexes": [models.Index(fields=["tenant", "project"], name="project_key_by_project")],
                "constraints": [models.UniqueConstraint(fields=("tenant", "key"), name="project_key_is_given_once", violation_error_message="Another project has or had this key."), taskflow.tenancy.constraints.TenantPrimaryKey(name="tasks_projectkey_tenant_pk"), taskflow.tenancy.constraints.CompositeFK(field="project", name="tasks_projectkey_project_id_tenant_fk"), taskflow.tenancy.constraints.RowSecurity(name="tasks_projectkey_rls"), taskflow.tenancy.constraints.TenantStatistics(fields=("project",), name="tasks_projectkey_stats")],
            },
        ),
        migrations.AlterField(
            model_name="project",
            name="key",
            field=models.CharField(max_length=10, validators=[django.core.validators.RegexValidator(re.compile("\\A[A-Z][A-Z0-9]{1,9}\\Z"), "2 to 10 capital letters and digits, a letter first.")]),
        ),
        migrations.RunPython(store_keys, migrations.RunPython.noop, elidable=False),
    ]
