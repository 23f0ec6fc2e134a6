"""Texts are searched by words that Python finds, instead of by those of each database."""

from importlib import import_module

from django.db import migrations

import taskflow.db.computed
from tasks.migrations._folding import fill_columns
from tasks.migrations._search import AddSearchIndex
from tasks.migrations._words import search_text

before = import_module("tasks.migrations.0002_search")
COLUMNS = {
    "tasks_task": ["title", "description"],
    "tasks_comment": ["body"],
    "tasks_page": ["title", "body"],
}


def fill(apps, editor):
    for table, sources in COLUMNS.items():
        columns = [f"{source}_words" for source in sources]
        fill_columns(editor, table, sources, columns, lambda *texts: [*map(search_text, texts)])


class Migration(migrations.Migration):
    dependencies = [("tasks", "0005_folding")]

    operations = [
        migrations.RunPython(before.drop, before.create),
        migrations.AddField(
            model_name="comment",
            name="body_words",
            field=taskflow.db.computed.WordsField(source="body"),
        ),
        migrations.AddField(
            model_name="page",
            name="title_words",
            field=taskflow.db.computed.WordsField(source="title"),
        ),
        migrations.AddField(
            model_name="page",
            name="body_words",
            field=taskflow.db.computed.WordsField(source="body"),
        ),
        migrations.AddField(
            model_name="task",
            name="title_words",
            field=taskflow.db.computed.WordsField(source="title"),
        ),
        migrations.AddField(
            model_name="task",
            name="description_words",
            field=taskflow.db.computed.WordsField(source="description"),
        ),
        migrations.RunPython(fill, migrations.RunPython.noop),
        AddSearchIndex("tasks_task", "title_words", "description_words"),
        AddSearchIndex("tasks_comment", "body_words"),
        AddSearchIndex("tasks_page", "title_words", "body_words"),
    ]
