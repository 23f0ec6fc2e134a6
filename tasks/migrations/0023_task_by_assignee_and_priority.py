from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("tasks", "0022_search_pages")]

    operations = [
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                fields=["tenant", "assignee", "priority_rank", "id"],
                condition=models.Q(("assignee__isnull", False), ("deleted_at__isnull", True)),
                name="task_by_assignee_and_priority",
            ),
        ),
    ]
