"""How done tasks ended, and the number of cancelled tasks of each project."""

from django.db import migrations, models
from django.db.models import Q

COMPLETE = "UPDATE tasks_task SET outcome = 'completed' WHERE tenant_id = %s AND status = 'done'"

# Without outcomes, cancelled tasks are counted as done ones again.
MERGE_COUNTS = "UPDATE tasks_taskcountdelta SET done = done + cancelled WHERE tenant_id = %s"


def complete_done_tasks(apps, schema_editor):
    """Set the outcome of done tasks to completed, so that the counts of done tasks stay right."""
    execute_per_tenant(schema_editor, COMPLETE)


def merge_counts(apps, schema_editor):
    execute_per_tenant(schema_editor, MERGE_COUNTS)


def execute_per_tenant(schema_editor, statement):
    """Execute it for one tenant after the other, as row-level security shows only one at a time."""
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM accounts_tenant ORDER BY id")
        for (tenant_id,) in cursor.fetchall():
            if connection.vendor == "postgresql":
                cursor.execute(
                    "SELECT set_config('taskflow.tenant', %s, true)", [str(tenant_id)]
                )
            cursor.execute(statement, [tenant_id])


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("tasks", "0003_project_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="task",
            name="outcome",
            field=models.CharField(blank=True, choices=[("completed", "Completed"), ("cancelled", "Cancelled")], max_length=9, null=True),
        ),
        migrations.AddField(
            model_name="taskcountdelta",
            name="cancelled",
            field=models.IntegerField(default=0),
        ),
        migrations.RunPython(complete_done_tasks, merge_counts, elidable=False),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.CheckConstraint(condition=Q(("outcome__isnull", True), ("outcome__in", ["completed", "cancelled"]), _connector="OR"), name="task_outcome_is_known"),
        ),
        migrations.AddConstraint(
            model_name="task",
            constraint=models.CheckConstraint(condition=Q(Q(("outcome__isnull", False), ("status", "done")), Q(Q(("status", "done"), _negated=True), ("outcome__isnull", True)), _connector="OR"), name="task_done_has_an_outcome"),
        ),
    ]
