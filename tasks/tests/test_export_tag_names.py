"""An older export may contain names of tags that are equal today: the later ones get a number."""

from __future__ import annotations

import pytest
from django.core.management import call_command

from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.changes.tasks import create_task
from tasks.export.tag_names import number_equal_names
from tasks.models import Tag, Task
from tasks.tests.exports import documents_of, export, load, signed


@pytest.fixture
def older_export(fixtures):
    """An export whose four tags differ only in the form of letters."""
    names = ["Design", "b", "c", "d"]
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="x", tags=names)
    documents = documents_of(export(fixtures.acme))
    documents[0]["version"] = 1
    former = iter(["Design", "ｄｅｓｉｇｎ", "DESIGN (2)", "DESIGN"])
    for document in documents:
        if document.get("model") == "tasks.tag":
            document["row"]["name"] = next(former)
    return signed(documents)


def test_import_numbers_equal_names_of_tags_with_an_event(fixtures, older_export):
    tenant, _ = load(older_export, subdomain="copy")

    with inside(tenant):
        tags = list(Tag.objects.order_by("pk"))
        task = Task.objects.get(title="x")
        event = Event.objects.get(subject_type="tag", subject_id=tags[1].pk, verb="changed")
        assert Event.objects.latest("pk").reason == event.reason
        assert task.tags.count() == 4
    names = ["Design", "ｄｅｓｉｇｎ (3)", "DESIGN (2)", "DESIGN (4)"]
    assert [tag.name for tag in tags] == names
    assert tags[1].name_folded == "design (3)"
    assert event.changes == {"name": ["ｄｅｓｉｇｎ", "ｄｅｓｉｇｎ (3)"]}
    assert (event.version, event.via) == (tags[1].version, "command")
    assert "equal" in event.reason


def test_renamed_tags_are_exported_and_imported_again(fixtures, older_export):
    tenant, _ = load(older_export, subdomain="copy")

    again, _ = load(export(tenant), subdomain="again")

    with inside(tenant):
        names = list(Tag.objects.order_by("pk").values_list("name", flat=True))
    with inside(again):
        assert list(Tag.objects.order_by("pk").values_list("name", flat=True)) == names


def test_import_command_reports_each_new_name(older_export, tmp_path, capsys):
    path = tmp_path / "older.jsonl"
    path.write_bytes(older_export)

    call_command("import", str(path), subdomain="copy")

    output = capsys.readouterr().out
    assert "“ｄｅｓｉｇｎ (3)”, because another tag has an equal name" in output
    assert output.count("is now") == 2


def test_number_keeps_a_long_name_within_its_limit():
    names = number_equal_names({1: "a" * 100, 2: "A" * 100, 3: "b"})

    assert names == {2: "A" * 96 + " (2)"}


def test_many_equal_names_get_consecutive_numbers():
    names = number_equal_names(dict.fromkeys(range(20_000), "same"))

    assert (names[1], names[19_999]) == ("same (2)", "same (20000)")
