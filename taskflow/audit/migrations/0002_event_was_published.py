"""Each event says whether its page was published then, and in which project its task was then.

Events contain former values, which are shown only to users who could see the row at that time.
Before, the events of a task that was changed and then moved by one request had the project to which
the task was moved.
"""

from itertools import groupby

from django.db import migrations, models

PUBLICATION = {"is_published", "published_at"}
CHUNK = 1000  # events of one UPDATE


def fill(apps, editor):
    connection, event_model = editor.connection, apps.get_model("audit", "Event")
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM accounts_tenant ORDER BY id")
        for (tenant,) in cursor.fetchall():
            if connection.vendor == "postgresql":  # row-level security shows one tenant at a time
                cursor.execute("SELECT set_config('taskflow.tenant', %s, true)", [str(tenant)])
            events = event_model.objects.filter(tenant_id=tenant)
            fill_pages(events.filter(subject_type="page"))
            fill_tasks(events)


def fill_pages(events):
    found = {True: [], False: []}
    rows = events.order_by("subject_id", "id").values_list("subject_id", "id", "changes")
    for _page, group in groupby(rows.iterator(), lambda row: row[0]):
        state = None  # unknown without the creation of the page
        for _, pk, changes in group:
            states = changes.get("is_published", [state, state])
            state = states[1]
            if changes.keys() <= PUBLICATION:
                found[True].append(pk)
            elif states != [None, None]:
                found[False not in states].append(pk)
    for was_published, ids in found.items():
        for start in range(0, len(ids), CHUNK):
            chunk = events.filter(pk__in=ids[start : start + CHUNK])
            chunk.update(was_published=was_published)


def fill_tasks(events):
    of_tasks = events.filter(subject_type="task")
    moved = of_tasks.filter(verb="moved").values("subject_id")
    rows = of_tasks.filter(subject_id__in=moved).order_by("subject_id", "-id")
    rows = rows.values_list("subject_id", "id", "project_id", "changes")
    for _task, group in groupby(rows.iterator(), lambda row: row[0]):
        former = None  # the project before the next move
        for _, pk, project_id, changes in group:
            if former not in (None, project_id):
                events.filter(pk=pk).update(project_id=former)
            former = (changes.get("project") or [former])[0] or former


class Migration(migrations.Migration):
    dependencies = [
        ("accounts", "0001_initial"),
        ("audit", "0001_initial"),
    ]

    operations = [
        migrations.AddField(
            model_name="event",
            name="was_published",
            field=models.BooleanField(null=True),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop, elidable=False),
    ]
