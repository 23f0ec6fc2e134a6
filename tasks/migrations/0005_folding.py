"""Titles and names are sorted, and tag names are unique, by a folded form that Python computes.

Two tags may now have equal names, such as Straße and STRASSE. The one that was created later gets a
number behind its name, with an event that gives the reason.
"""

from itertools import count

from django.db import migrations, models
from django.utils import timezone

import taskflow.db.computed
from tasks.migrations._folding import fill_folded, fold_key, open_tenants

MAX_NAME = 100  # characters
REASON = "An upgrade made tag names equal whose letters differ only in form. This one got a number."


def fill(apps, editor):
    for table, source in (("tasks_task", "title"), ("tasks_page", "title"), ("tasks_project", "name")):
        fill_folded(editor, table, source, f"{source}_folded")
    number_equal_tags(apps, editor)
    fill_folded(editor, "tasks_tag", "name", "name_folded")


def number_equal_tags(apps, editor):
    with editor.connection.cursor() as cursor:
        for tenant in open_tenants(editor):
            cursor.execute(
                "SELECT id, name, version FROM tasks_tag WHERE tenant_id = %s ORDER BY id", [tenant]
            )
            rows = cursor.fetchall()
            taken = {}
            for pk, name, _ in rows:
                taken.setdefault(fold_key(name), pk)
            for pk, name, version in rows:
                if taken[fold_key(name)] != pk:
                    new = first_free_name(name, taken)
                    taken[fold_key(new)] = pk
                    rename(apps, cursor, tenant, pk, (name, new), version + 1)


def first_free_name(name, taken):
    suffixes = (f" ({number})" for number in count(2))
    names = (name[: MAX_NAME - len(suffix)] + suffix for suffix in suffixes)
    return next(new for new in names if fold_key(new) not in taken)


def rename(apps, cursor, tenant, pk, names, version):
    cursor.execute(
        "UPDATE tasks_tag SET name = %s, version = %s, updated_at = %s"
        " WHERE tenant_id = %s AND id = %s",
        [names[1], version, timezone.now(), tenant, pk],
    )
    apps.get_model("audit", "Event").objects.create(
        tenant_id=tenant,
        via="command",
        reason=REASON,
        verb="changed",
        subject_type="tag",
        subject_id=pk,
        version=version,
        changes={"name": list(names)},
    )


class Migration(migrations.Migration):
    dependencies = [
        ("audit", "0001_initial"),
        ("tasks", "0004_task_outcome"),
    ]

    operations = [
        migrations.RemoveConstraint(model_name="tag", name="tag_name_key"),
        migrations.RemoveIndex(model_name="task", name="task_in_order_of_title"),
        migrations.RemoveIndex(model_name="task", name="task_priority_then_title"),
        migrations.AddField(
            model_name="page",
            name="title_folded",
            field=taskflow.db.computed.FoldedField(source="title"),
        ),
        migrations.AddField(
            model_name="project",
            name="name_folded",
            field=taskflow.db.computed.FoldedField(source="name"),
        ),
        migrations.AddField(
            model_name="tag",
            name="name_folded",
            field=taskflow.db.computed.FoldedField(source="name"),
        ),
        migrations.AddField(
            model_name="task",
            name="title_folded",
            field=taskflow.db.computed.FoldedField(source="title"),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("deleted_at__isnull", True)),
                fields=["tenant", "project", "title_folded", "id"],
                name="task_in_order_of_title",
            ),
        ),
        migrations.AddIndex(
            model_name="task",
            index=models.Index(
                condition=models.Q(("deleted_at__isnull", True)),
                fields=["tenant", "project", "priority_rank", "title_folded", "id"],
                name="task_priority_then_title",
            ),
        ),
        migrations.AddConstraint(
            model_name="tag",
            constraint=models.UniqueConstraint(
                fields=("tenant", "name_folded"),
                name="tag_name_key",
                violation_error_message="A tag of this name exists; case does not count.",
            ),
        ),
    ]
