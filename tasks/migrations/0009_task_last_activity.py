"""The time of the last activity on a task: its own last change, or that of one of its comments."""

from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Coalesce, Greatest

# One look-up in an index for each task that has a comment.
COMMENTED = """
    UPDATE tasks_task SET commented_at = (
      SELECT max(comment.updated_at) FROM tasks_comment comment
      WHERE comment.tenant_id = tasks_task.tenant_id AND comment.task_id = tasks_task.id)
    WHERE tenant_id = %s AND id IN (SELECT task_id FROM tasks_comment WHERE tenant_id = %s)
"""


def store_times_of_comments(apps, schema_editor):
    """Store the times, tenant by tenant: row-level security shows one tenant at a time."""
    connection = schema_editor.connection
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM accounts_tenant ORDER BY id")
        for (tenant_id,) in cursor.fetchall():
            if connection.vendor == "postgresql":
                cursor.execute("SELECT set_config('taskflow.tenant', %s, true)", [str(tenant_id)])
            cursor.execute(COMMENTED, [tenant_id, tenant_id])


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("tasks", "0008_task_links"),
    ]

    operations = [
        migrations.AddField(
            model_name="task",
            name="commented_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.RunPython(store_times_of_comments, migrations.RunPython.noop, elidable=False),
        migrations.AddField(
            model_name="task",
            name="last_activity_at",
            field=models.GeneratedField(
                db_persist=True,
                expression=Greatest("updated_at", Coalesce("commented_at", "updated_at")),
                output_field=models.DateTimeField(),
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(condition=Q(("deleted_at__isnull", True)), fields=["tenant", "project", "last_activity_at", "id"], name="task_in_order_of_activity"),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(condition=Q(("deleted_at__isnull", True)), fields=["tenant", "project", "priority_rank", "last_activity_at", "id"], name="task_priority_then_activity"),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(fields=["tenant", "last_activity_at", "id"], name="task_by_activity"),
        ),
    ]
