from django.db import migrations, models

IS_OPEN = models.Q(("completed_at__isnull", True), ("deleted_at__isnull", True))


class Migration(migrations.Migration):
    dependencies = [("tasks", "0020_claim_order")]

    operations = [
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                fields=["tenant", "assignee", "due", "id"],
                condition=models.Q(
                    ("assignee__isnull", False),
                    ("completed_at__isnull", True),
                    ("deleted_at__isnull", True),
                ),
                name="task_open_by_due",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                fields=["tenant", "project", "assignee", "id"],
                condition=IS_OPEN,
                name="task_open_by_assignee",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                fields=["tenant", "project", "completed_at"],
                condition=models.Q(("completed_at__isnull", False), ("deleted_at__isnull", True)),
                name="task_by_completion",
            ),
        ),
    ]
