"""The same values are accepted in a body, a CSV cell and an admin form."""

from __future__ import annotations

import csv
import io
import json
from zoneinfo import ZoneInfo

import pytest
from django.core.exceptions import ValidationError as FormError
from django.core.validators import RegexValidator
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from accounts.actions.erasure import erase_user
from accounts.actions.users import create_user, deactivate_user
from accounts.admin.fields import JsonField
from accounts.models import Tenant, User
from conftest import PASSWORD, ApiClient, new_tenant, token_of
from taskflow.audit.models import Event
from taskflow.http.errors import Problem
from taskflow.http.parsing import check_values, parse_json
from taskflow.tenancy import inside
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.changes.tasks import create_task
from tasks.csv.profiles import TASKFLOW
from tasks.csv.values import CellFormat, parse_cells
from tasks.models import Comment, Page, Project, Tag, Task
from tasks.schemas.tasks import TaskCreate, TaskFields
from tasks.tests.test_admin import address, form_of, sign_in

pytestmark = pytest.mark.one_database

METADATA = [
    "{}",
    '{"a": [1, 2.5, null, true, {"ü": "\\ud83d\\ude80"}]}',
    '{"a": -0.0, "b": 1e18, "c": 5e-324}',
    '{"a": 9223372036854775807}',
    '{"a": 9223372036854775808}',
    '{"a": -9223372036854775809}',
    '{"a": 1e308}',
    '{"a": 1e999}',
    '{"a": NaN}',
    '{"a": [Infinity]}',
    '{"a": -Infinity}',
    '{"a": "\\u0000"}',
    '{"\\u0000": 1}',
    '{"a": "\\ud800"}',
    '{"\\udfff": 1}',
    '{"a": 1, "a": 1}',
    '{"sha256": "x", "model": "tasks.task", "row": {}}',
    '{"a": ' * 14 + "{}" + "}" * 14,
    '{"a": ' * 15 + "{}" + "}" * 15,
    "[" * 100_000 + "]" * 100_000,
    '{"a": ' + "9" * 5000 + "}",
    '{"a": "' + "x" * 32_757 + '"}',
    '{"a": "' + "x" * 32_761 + '"}',
    "[]",
    "[1]",
    "null",
    "5",
    '"text"',
    "{",
    "{'a': 1}",
    '{"a": 1,}',
    '{"a": 1} {"b": 1}',
]


CELL_FORMAT = CellFormat(TASKFLOW, None, ZoneInfo("UTC"), {})


def in_a_body(text):
    """Return the metadata of a body with this text, or None if the body is refused."""
    try:
        body = parse_json(b'{"project_id": 1, "title": "x", "metadata": %s}' % text.encode())
        return TaskCreate.model_validate(body).metadata
    except (ValueError, ValidationError):
        return None


def in_a_cell(text):
    try:
        cells = parse_cells({"title": "x", "metadata": text}, CELL_FORMAT)
        return TaskFields.model_validate(cells).metadata
    except (Problem, ValidationError):
        return None


def in_a_form(text):
    field = JsonField(required=False)
    try:
        return check_values(TaskCreate, {"metadata": field.clean(text)})["metadata"]
    except (Problem, FormError):
        return None


@pytest.mark.parametrize("text", METADATA, ids=[text[:30] for text in METADATA])
def test_metadata_is_judged_alike_in_body_cell_and_form(text):
    expected = in_a_body(text)

    assert in_a_cell(text) == expected
    assert in_a_form(text) == expected


NUMBERS = st.integers() | st.floats() | st.just(-0.0)
TEXTS = st.text(st.characters(exclude_categories=()), max_size=5)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=10,
)


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(VALUES)
def test_any_json_is_judged_alike_in_body_cell_and_form(value):
    text = json.dumps(value)
    expected = in_a_body(text)

    assert in_a_cell(text) == expected
    assert in_a_form(text) == expected


# ---- the same, through the whole product --------------------------------------------------------


@pytest.fixture
def boss(db):
    return new_tenant("acme", "boss", PASSWORD)


@pytest.fixture
def apollo(boss):
    with inside(boss.tenant):
        return create_project(boss, name="Apollo", key="APO")


@pytest.fixture
def staff_client(boss):
    return sign_in("boss@acme.example")


@pytest.fixture
def client(boss):
    return ApiClient(token_of(boss))


def send_form(staff_client, model, pk=None, **values):
    """Fill in the form of the model and send it. Return whether it was saved."""
    page = address(model, "change" if pk else "add", pk)
    form = form_of(staff_client.get(page))
    return staff_client.post(page, form | values).status_code == 302


def send_cell(client, column, text):
    csv_file = io.StringIO()
    csv.writer(csv_file).writerows([["title", column], ["x", text]])
    r = client.generic(
        "POST", "/projects/APO/tasks.csv", csv_file.getvalue().encode(), content_type="text/csv"
    )
    assert r.status_code in (200, 422), r.content
    return r.status_code == 200


def would_accept(client, path, **values):
    """Whether a body with these values is accepted; nothing is stored."""
    r = client.post(path + "?dry_run=true", values)
    assert r.status_code in (201, 400, 422), r.content
    return r.status_code == 201


@pytest.mark.sampled(2)
@pytest.mark.parametrize("text", ["NaN", "[1]", '{"a": NaN}', '{"a": "\\u0000"}', '{"a": "\\ud800"}',
                                  '{"a": 1e308}', '{"a": 1, "a": 1}', "[" * 50_000])  # fmt: skip
@pytest.mark.slow
def test_bad_metadata_is_refused_in_cells_and_forms_and_nothing_is_stored(
    boss, apollo, staff_client, client, text
):
    assert not send_cell(client, "metadata", text)
    assert not send_form(staff_client, Task, project=apollo.pk, title="x", metadata=text)
    assert not send_form(staff_client, Project, apollo.pk, metadata=text)

    with inside(boss.tenant):
        assert not Task.objects.exists()
        assert Project.objects.get().metadata == {}


def test_good_metadata_is_stored_alike_by_body_cell_and_form(boss, apollo, staff_client, client):
    text = '{"a": [1, 2.5, "\\ud83d\\ude80"], "sha256": {"row": null}}'

    body = {"project_id": apollo.pk, "title": "x", "metadata": json.loads(text)}
    assert client.post("/tasks", body).status_code == 201
    assert send_cell(client, "metadata", text)
    assert send_form(staff_client, Task, project=apollo.pk, title="x", metadata=text)

    with inside(boss.tenant):
        assert [task.metadata for task in Task.objects.all()] == [json.loads(text)] * 3


@pytest.mark.slow
def test_emptied_metadata_becomes_an_empty_object(boss, apollo, staff_client):
    assert send_form(staff_client, Project, apollo.pk, metadata='{"a": 1}')
    assert send_form(staff_client, Project, apollo.pk, metadata="")

    with inside(boss.tenant):
        assert Project.objects.get().metadata == {}


TEXT = {
    "nothing": "",
    "blanks": "   ",
    "NUL": "a\0b",
    "long": "x" * 101,
    "longer": "x" * 256,
    "very long": "x" * 501,
    "too long for anything": "x" * 65_537,
    "odd but fine": "\u2028 “x” \u202e💥",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", TEXT.values(), ids=TEXT.keys())
def test_texts_are_judged_alike_by_body_and_form(boss, apollo, staff_client, client, text):
    with inside(boss.tenant):
        task = create_task(boss, apollo, title="x")
    forms = {
        "name of a project": (Project, "/projects", {"name": text, "owner_id": boss.user.pk}),
        "description": (Project, "/projects", {"name": "x", "description": text}),
        "title": (Task, "/tasks", {"project_id": apollo.pk, "title": text}),
        "description of a task": (
            Task, "/tasks", {"project_id": apollo.pk, "title": "x", "description": text},
        ),
        "comment": (Comment, "/comments", {"task_id": task.pk, "body": text}),
        "page": (Page, "/pages", {"project_id": apollo.pk, "title": text, "body": "x"}),
        "body": (Page, "/pages", {"project_id": apollo.pk, "title": "x", "body": text}),
        "tag": (Tag, "/tags", {"name": text}),
    }  # fmt: skip
    for name, (model, path, values) in forms.items():
        expected = would_accept(client, path, **values)
        extra = {"owner": boss.user.pk} if model in (Project, Page) else {}
        sent = {n.removesuffix("_id"): value for n, value in values.items()} | extra

        assert send_form(staff_client, model, **sent) == expected, name


@pytest.mark.parametrize("text", TEXT.values(), ids=TEXT.keys())
@pytest.mark.parametrize("column", ["description", "external_ref"])
def test_texts_are_judged_alike_by_body_and_cell(apollo, client, column, text):
    expected = would_accept(client, "/tasks", project_id=apollo.pk, title="x", **{column: text})
    is_absent = not text  # an empty cell is a field that was not sent

    assert send_cell(client, column, text) == (expected or is_absent)


PEOPLE = {
    "plain": {"handle": "ada", "email": "ada@acme.example", "full_name": "Ada"},
    "upper case": {"handle": "Ada", "email": "ada@acme.example"},
    "odd handle": {"handle": "-ada", "email": "ada@acme.example"},
    "no domain": {"handle": "ada", "email": "ada@localhost"},
    "long e-mail": {"handle": "ada", "email": f"{'a' * 60}@{'b.' * 99}example"},
    "upper e-mail": {"handle": "ada", "email": "ADA@acme.example"},
    "reserved domain": {"handle": "ada", "email": "ada@acme.invalid"},
    "long name": {"handle": "ada", "email": "ada@acme.example", "full_name": "x" * 101},
    "name with NUL": {"handle": "ada", "email": "ada@acme.example", "full_name": "a\0b"},
}


@pytest.mark.parametrize("person", PEOPLE.values(), ids=PEOPLE.keys())
def test_people_are_judged_alike_by_body_and_form(staff_client, client, person):
    expected = would_accept(client, "/users", **person)

    assert send_form(staff_client, User, is_active="on", **person) == expected


def test_erased_user_can_still_be_edited_in_a_form(boss, staff_client):
    """The e-mail of an erased user could not be entered, but here it is not changed."""
    with inside(boss.tenant):
        ada = create_user(boss, handle="ada", email="ada@acme.example")
        erase_user(boss, deactivate_user(boss, ada))

    assert send_form(staff_client, User, ada.pk, full_name="Nobody")


def test_password_is_kept_as_it_was_typed_in_a_form(boss, staff_client):
    values = {"handle": "ada", "email": "ada@acme.example", "is_active": "on"}
    assert send_form(staff_client, User, **values, password=" spaces around it ")

    with inside(boss.tenant):
        assert User.objects.get(handle="ada").check_password(" spaces around it ")


def test_saving_a_form_unchanged_keeps_the_white_space_of_markdown(boss, apollo, staff_client):
    body = "\n\n    code\n"
    with inside(boss.tenant):
        page = create_page(boss, apollo, title="x", body=body)

    assert send_form(staff_client, Page, page.pk, title="y")

    with inside(boss.tenant):
        assert Page.objects.get().body == body
        assert Event.objects.latest("id").changes == {"title": ["x", "y"]}


@pytest.mark.parametrize(
    ("model", "name", "good"),
    [
        (Tenant, "subdomain", "acme"),
        (User, "handle", "ada"),
        (Project, "key", "WEB"),
        (Tag, "color", "#1F6FEB"),
    ],
)
def test_pattern_of_a_column_holds_for_the_whole_value(model, name, good):
    field = model._meta.get_field(name)
    pattern = next(v for v in field.validators if isinstance(v, RegexValidator))
    pattern(good)

    for bad in (f"-{good}", f"!{good}", f"\n{good}", f" {good}", f"{good}\n", f"{good}!", ""):
        with pytest.raises(FormError):
            pattern(bad)
            pytest.fail(bad)
