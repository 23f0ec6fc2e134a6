"""The column by which lists sort days and times together."""

from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Coalesce

from taskflow.db.expressions import MiddleOfDay


class Migration(migrations.Migration):
    dependencies = [
        ("tasks", "0009_task_last_activity"),
    ]

    operations = [
        migrations.AddField(
            model_name="task",
            name="due",
            field=models.GeneratedField(
                db_persist=True,
                expression=Coalesce("due_date", MiddleOfDay("due_on")),
                null=True,
                output_field=models.DateTimeField(),
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(condition=Q(("deleted_at__isnull", True)), fields=["tenant", "project", "due", "id"], name="task_in_order_of_due"),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(condition=Q(("deleted_at__isnull", True)), fields=["tenant", "project", "priority_rank", "due", "id"], name="task_priority_then_due"),
        ),
    ]
