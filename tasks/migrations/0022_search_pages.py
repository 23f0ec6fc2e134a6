from django.db import migrations, models

from tasks.migrations._search_pages import AddSearchPages


class Migration(migrations.Migration):
    dependencies = [("tasks", "0021_indexes_of_home")]

    operations = [
        migrations.AddIndex(
            model_name="comment",
            index=models.Index(
                fields=["tenant", "updated_at", "id"],
                condition=models.Q(("deleted_at__isnull", True)),
                name="comment_by_change",
            ),
        ),
        migrations.AddIndex(
            model_name="page",
            index=models.Index(
                fields=["tenant", "updated_at", "id"],
                condition=models.Q(("deleted_at__isnull", True)),
                name="page_by_change",
            ),
        ),
        AddSearchPages(
            name="tasks_task",
            visible="r.project_id = ANY($2)",
            has_title=True,
            text="description_words",
            has_counts=True,
        ),
        AddSearchPages(
            name="tasks_comment",
            join=" JOIN tasks_task t ON t.tenant_id = r.tenant_id AND t.id = r.task_id",
            visible="t.deleted_at IS NULL AND t.project_id = ANY($2)",
            has_title=False,
            text="body_words",
        ),
        AddSearchPages(
            name="tasks_page",
            visible="r.project_id = ANY($2)"
            " AND (r.is_published OR r.owner_id = $4 OR r.project_id = ANY($3))",
            has_title=True,
            text="body_words",
        ),
    ]
