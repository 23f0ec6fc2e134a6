"""The keys that projects have or had, so that no key is ever given to another project."""

import re

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models

import taskflow.tenancy.constraints
import taskflow.tenancy.models


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
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
    ]
