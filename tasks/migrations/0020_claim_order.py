from django.db import migrations, models

CLAIM_ORDER = [
    models.OrderBy(models.F("priority_rank"), descending=True),
    models.ExpressionWrapper(models.Q(("due__isnull", True)), output_field=models.BooleanField()),
    models.F("due"),
    models.F("id"),
]
IS_OPEN = models.Q(("deleted_at__isnull", True), models.Q(("status", "done"), _negated=True))


class Migration(migrations.Migration):
    dependencies = [("tasks", "0019_view_timeline")]

    operations = [
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                models.F("tenant"), *CLAIM_ORDER, condition=IS_OPEN, name="task_to_claim"
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                models.F("tenant"),
                models.F("project"),
                *CLAIM_ORDER,
                condition=IS_OPEN,
                name="task_to_claim_of_project",
            ),
        ),
    ]
