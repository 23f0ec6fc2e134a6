"""Links of tasks to pages elsewhere. Tasks that exist have none."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("tasks", "0007_store_project_keys"),
    ]

    operations = [
        migrations.AddField(
            model_name="task",
            name="links",
            field=models.JSONField(blank=True, default=list),
        ),
    ]
