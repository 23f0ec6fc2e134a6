"""Fill the folded names of users.

It stands here because accounts, whose column it fills, comes before tasks and imports nothing of it.
"""

from django.db import migrations

from tasks.migrations._folding import fill_folded


def fill(apps, editor):
    fill_folded(editor, "accounts_user", "full_name", "full_name_folded")


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0002_user_name_folded"),
        ("tasks", "0010_task_due"),
    ]

    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
