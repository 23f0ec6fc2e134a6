"""Bad input in the admin is refused. It is not ignored and causes no server error."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlencode

import pytest
from django.contrib import admin
from django.test import Client
from django.urls import reverse

from accounts.models import ApiToken, User
from conftest import PROOF, sign_in_browser
from taskflow.admin.site import _parameters_of
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.pages import create_page
from tasks.changes.tasks import create_task
from tasks.models import Tag, Task

pytestmark = [pytest.mark.slow, pytest.mark.one_database]

BAD = ["x", "\0", "-1", str(2**63), "9" * 30, " ", "", "é", "½", "²", "9" * 5000, "1,x", "null"]
REGISTERED = sorted(admin.site._registry, key=lambda model: model.__name__)
NO_FILTERS = {"o", "p", "all", "e", "_popup", "_to_field", "_changelist_filters"}
FORM = "application/x-www-form-urlencoded"
TASKS = "/admin/tasks/task/"

each_model = pytest.mark.parametrize("model", REGISTERED, ids=lambda model: model.__name__)


@pytest.fixture
def staff_client(fixtures: Any) -> Client:
    client = Client(SERVER_NAME="acme.localhost", raise_request_exception=False)
    with inside(fixtures.acme):
        create_task(fixtures.ada, fixtures.apollo, title="Second", tags=["hot"])
        create_comment(fixtures.boss, fixtures.task, body="Ready?")
        create_page(fixtures.ada, fixtures.apollo, title="Plan")
        sign_in_browser(client, fixtures.boss.user)
    return client


def list_of(model: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def parameters_of(model: Any) -> set[str]:
    model_admin = admin.site._registry[model]
    names = {"q", *NO_FILTERS}
    for item in model_admin.get_list_filter(None):  # type: ignore[arg-type]
        names |= _parameters_of(model, item)
    return names


def fields_of(staff_client: Client, address: str) -> dict[str, Any]:
    """Return the form data that a browser would send from this page, inlines included."""
    context = staff_client.get(address).context
    if context is None or "adminform" not in context:
        return {}
    forms = [context["adminform"].form]
    for inline in context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    values = {}
    for form in forms:
        for bound in form:
            value = bound.value()
            values[bound.html_name] = "" if value is None else value
    return values


def all_are_answered(responses: list[tuple[Any, Any]]) -> None:
    failed = [name for name, response in responses if response.status_code >= 500]
    assert not failed


def each_or_all(names: Any, values: list[str]) -> list[dict[str, str]]:
    """Return form data with each value in all names at once; with PROOF also in each name alone."""
    sent = [dict.fromkeys(names, value) for value in values]
    if PROOF:
        sent += [{name: value} for name in names for value in values]
    return sent


@pytest.mark.slow
@pytest.mark.sampled(1)
@each_model
def test_bad_query_parameter_of_an_admin_list_is_no_server_error(staff_client, model):
    address = list_of(model)
    names = sorted(parameters_of(model) - NO_FILTERS)
    sent = [{name: bad} for name in names for bad in BAD] if PROOF else []
    sent += [{name: bad} for name in names for bad in ("½", str(2**63))]
    sent += each_or_all(sorted(NO_FILTERS), ["½", str(2**63)])
    all_are_answered([(query, staff_client.get(f"{address}?{urlencode(query)}")) for query in sent])
    all_are_answered(
        [(query, staff_client.post(f"{address}?{urlencode(query)}")) for query in sent[:4]]
    )


@pytest.mark.sampled(1)
@each_model
def test_bad_value_in_an_admin_action_is_no_server_error(staff_client, model):
    names = ["action", "_selected_action", "select_across", "index"]
    usual = {"action": "delete_selected", "_selected_action": "1", "index": "0"}
    sent = [{"_selected_action": bad} for bad in BAD] + each_or_all(names, ["x", "½"])
    all_are_answered([(body, staff_client.post(list_of(model), usual | body)) for body in sent])


@pytest.mark.sampled(2)
@each_model
@pytest.mark.parametrize("page", ["add", "change", "history"])
def test_bad_query_parameter_of_an_admin_form_is_no_server_error(staff_client, model, page):
    address = f"{list_of(model)}{place_of(staff_client, model, page)}"
    names = {field.name for field in model._meta.get_fields()} | fields_of(
        staff_client, address
    ).keys()
    names |= {"labels", "blockers", "blocks", "due_at", "members-page", "tasks-page", "p"}
    sent = each_or_all(sorted(names), ["x", "½", str(2**63)])
    sent += [{name: "x"} for name in ("_to_field", "_popup", "_changelist_filters")]
    all_are_answered([(query, staff_client.get(f"{address}?{urlencode(query)}")) for query in sent])


@pytest.mark.sampled(1)
@each_model
def test_bad_id_in_the_path_of_an_admin_page_is_no_server_error(staff_client, model):
    pages = ["change", "history", "delete", "offboarding", "undo-this"]
    paths = [f"{list_of(model)}{quote(bad, safe='')}/{page}/" for bad in BAD for page in pages]
    all_are_answered([(path[:80], staff_client.get(path)) for path in paths])


@pytest.mark.sampled(2)
@each_model
@pytest.mark.parametrize("page", ["add", "change"])
def test_bad_value_in_an_admin_form_is_no_server_error(staff_client, model, page):
    address = f"{list_of(model)}{place_of(staff_client, model, page)}"
    usual = fields_of(staff_client, address)
    count = {name for name in usual if name.endswith("_FORMS")}
    names = [*sorted(usual.keys() - count), "_overwrite", "tasks-page", "members-page"]
    sent = each_or_all(names, ["x", "-1", str(2**63), " ", "½"]) + each_or_all(count, ["x"])
    sent += [{"row_version": bad} for bad in ("9" * 30, str(2**63), "-1")]
    all_are_answered([(body, staff_client.post(address, usual | body)) for body in sent])


ADMIN_MESSAGES = [
    (Task, "title", "", "Enter or choose a value."),
    (Task, "title", "x" * 501, "Shorten the text to 500 characters; it has 501."),
    (Task, "status", "open", "Choose a value of the list."),
    (Task, "project", "999999", "Choose a value of the list."),
    (Task, "assignee", "x", "Choose a value of the list."),
    (Task, "blockers", "x", "Choose values of the list."),
    (Task, "blocks", "x", "Choose values of the list."),
    (Task, "due_at", "tomorrow", "Enter a day that exists, such as 2026-01-31, and a time such as 09:00."),
    (Task, "metadata", '{"a": 1,}', "The JSON is wrong at line 1, column 9: a name in double quotes is missing."),
    (Task, "metadata", '{"a": 1, "a": 2}', "An object has the name “a” twice. Send it once."),
    (Task, "metadata", "[1]", '“Metadata” must be a JSON object, as in {"a": 1}, not a list.'),
    (Tag, "color", "red", "“Color” must be “#” and six hexadecimal digits, as in #1F6FEB, not “red”."),
    (User, "email", "bob", "Enter an e-mail address, such as ada@example.com."),
    (User, "handle", "A B", "“Handle” must have only lower-case letters, digits, “.”, “_” and “-”, and begin with a letter"
     " or digit, not “A B”."),
    (ApiToken, "expires_in_days", "0", "Enter 1 or more."),
    (ApiToken, "expires_in_days", "soon", "Enter a whole number, such as 30."),
]  # fmt: skip


@pytest.mark.parametrize(("model", "field", "value", "sentence"), ADMIN_MESSAGES)
def test_admin_form_says_what_to_do_about_a_bad_value(staff_client, model, field, value, sentence):
    address = f"{list_of(model)}add/"

    sent = {"due_at_0": value} if field == "due_at" else {field: value}  # a day and a time
    r = staff_client.post(address, fields_of(staff_client, address) | sent)

    assert r.context["adminform"].form.errors[field] == [sentence]


def place_of(staff_client: Client, model: Any, page: str) -> str:
    if page == "add":
        return "add/"
    rows = staff_client.get(list_of(model)).context["cl"].result_list
    return f"{rows[0].pk if len(rows) else 1}/{page}/"


@pytest.mark.sampled(1)
@pytest.mark.parametrize("bad", BAD, ids=lambda bad: repr(bad)[:24])
def test_bad_value_in_other_admin_pages_is_no_server_error(staff_client, bad):
    value = quote(bad, safe="")
    pages = [f"search/?s=a&page={value}", f"search/?s={value}&extended=1"]
    pages += [
        f"r/{value or 'x'}/1/",
        f"r/1/{value or 'x'}/",
        f"accounts/user/{value or 'x'}/offboard/",
        f"audit/event/undo/?event_ids={value}",
    ]
    pages += [f"audit/event/undo/?{name}={value}" for name in ("actor", "project", "since")]
    place = "autocomplete/?app_label=tasks&model_name=task&field_name=project&term="
    pages += [place + value, f"{place}&page={value}", f"autocomplete/?app_label={value}"]
    all_are_answered([(page, staff_client.get(f"/admin/{page}")) for page in pages])
    for name in ("project", "actor", "since", "until", "request_id", "event_ids"):
        assert staff_client.post("/admin/audit/event/undo/", {name: bad}).status_code < 500


def test_search_has_one_page(staff_client):
    assert staff_client.get("/admin/search/?s=task").status_code == 200
    for page in ("x", "0", "99", ""):
        assert staff_client.get(f"/admin/search/?s=task&page={page}").status_code == 200


# ---- filters ------------------------------------------------------------------------------------

UNREADABLE = [
    "assignee__id__exact=%20", "assignee__id__exact=x", "project__id__exact=9223372036854775808",
    "assignee__isnull=", "assignee__isnull=x", "assignee__isnull=%20", "assignee__isnull=2",
    "project__id__exact=½", "status__exact=", "status__exact=%20", "priority=", "trash=", "trash=x",
    "trash=%20", "trash=1&trash=x", "q=%20", "q=%00", "q=%22%22", "q=%27%27", "q=%E3%80%80",
    "q=%22%20%22", "status__exact=%00", "assignee__isnull=%00",
]  # fmt: skip
EMPTY = ["project__id__exact=", "assignee__id__exact=", "q=", "project__id__exact=&q=&trash=1"]


def complete_all(staff_client: Client, query: str) -> Any:
    chosen = {"action": "complete_anyway", "select_across": "1", "_selected_action": "1"}
    return staff_client.post(f"{TASKS}?{query}", chosen)


def open_tasks(fixtures: Any) -> int:
    with inside(fixtures.acme):
        return Task.objects.filter(status="todo").count()


@pytest.mark.sampled(4)
@pytest.mark.parametrize("query", UNREADABLE)
def test_admin_list_with_an_invalid_filter_is_refused(staff_client, fixtures, query):
    for response in (staff_client.get(f"{TASKS}?{query}"), complete_all(staff_client, query)):
        assert response.status_code == 400
        assert response["Content-Type"].startswith("text/plain")
    assert open_tasks(fixtures) == 2


@pytest.mark.parametrize("query", EMPTY)
def test_admin_action_on_a_list_with_an_empty_filter_is_refused(staff_client, fixtures, query):
    assert complete_all(staff_client, query).status_code == 400
    assert open_tasks(fixtures) == 2


@pytest.mark.sampled(3)
@each_model
def test_admin_action_with_any_blank_filter_is_refused(staff_client, model):
    names = parameters_of(model) - NO_FILTERS
    for name in names:
        for blank in ("", "%20", "%00", "%09"):
            address = f"{list_of(model)}?{name}={blank}"
            assert staff_client.post(address, {"action": "x"}).status_code == 400, address


def test_empty_filter_fields_are_removed_from_the_url(staff_client, fixtures):
    query = f"project__id__exact={fixtures.apollo.pk}&assignee__id__exact=&q="
    response = staff_client.get(f"{TASKS}?{query}")

    assert response.status_code == 302
    assert response["Location"] == f"{TASKS}?project__id__exact={fixtures.apollo.pk}"
    shown = staff_client.get(response["Location"]).context["cl"].result_list
    assert len(shown) == 2
    complete_all(staff_client, response["Location"].partition("?")[2])
    assert open_tasks(fixtures) == 0


def test_list_of_unassigned_tasks_shows_and_changes_only_these(staff_client, fixtures):
    for query in ("assignee__isnull=True", "assignee__isnull=1"):
        rows = staff_client.get(f"{TASKS}?{query}").context["cl"].result_list
        assert [row.title for row in rows] == ["Second"]

    complete_all(staff_client, "assignee__isnull=true")

    assert open_tasks(fixtures) == 1


@pytest.mark.parametrize("query", ["*", "%", "_", "-", "\u200b", "()", "NOT", '"*"'])
@each_model
def test_search_for_punctuation_lists_no_rows_without_it(staff_client, model, query):
    response = staff_client.get(f"{list_of(model)}?{urlencode({'q': query})}")

    if response.status_code == 200 and query not in "-_":
        assert not response.context["cl"].result_list


# ---- forms --------------------------------------------------------------------------------------


def test_admin_form_shows_a_valid_initial_value_and_ignores_an_invalid_one(staff_client, fixtures):
    for project, shown in (
        (str(fixtures.apollo.pk), str(fixtures.apollo.pk)),
        ("x", None),
        ("0", None),
    ):
        form = (
            staff_client.get(f"{TASKS}add/?project={project}&title=New").context["adminform"].form
        )
        assert form["project"].value() == shown
        assert form["title"].value() == "New"


@pytest.mark.sampled(3)
@pytest.mark.parametrize("field", ["project", "assignee", "parent", "blockers", "blocks"])
@pytest.mark.parametrize("bad", ["x", "9" * 20, "-1", "½"])
def test_unknown_row_in_an_admin_form_is_reported_at_its_field(staff_client, fixtures, field, bad):
    body = {"project": fixtures.apollo.pk, "title": "New", "status": "todo", "priority": "low"}

    response = staff_client.post(f"{TASKS}add/", body | {"metadata": "{}", field: bad})

    assert response.status_code == 200
    assert list(response.context["adminform"].form.errors) == [field]


def test_admin_form_with_existing_rows_is_saved(staff_client, fixtures):
    with inside(fixtures.acme):
        tag = Tag.objects.get()
    body = {"project": fixtures.apollo.pk, "title": "New", "status": "todo", "priority": "low"}
    body |= {"metadata": "{}", "labels": [tag.name], "blockers": [fixtures.task.pk]}

    assert staff_client.post(f"{TASKS}add/", body).status_code == 302
    assert open_tasks(fixtures) == 3


# ---- text ---------------------------------------------------------------------------------------

BROKEN = [b"%ED%A0%80", b"%FF", b"\xff", b"%C3", b"a%00b", b"%F4%90%80%80", b"%C0%80"]


def task_form(fixtures: Any, title: bytes) -> bytes:
    start = f"project={fixtures.apollo.pk}&status=todo&priority=low&metadata={{}}&title=".encode()
    return start + title


def multipart(fixtures: Any, title: bytes, header: bytes = b"") -> bytes:
    fields = task_form(fixtures, b"").removesuffix(b"&title=").split(b"&")
    pairs = [tuple(field.split(b"=")) for field in fields] + [(b"title", title)]
    part = b'--edge\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    parts = [part % (name, header if name == b"title" else b"", text) for name, text in pairs]
    return b"".join(parts) + b"--edge--\r\n"


@pytest.mark.parametrize("title", BROKEN)
def test_admin_form_with_text_that_cannot_be_stored_is_refused(staff_client, fixtures, title):
    response = staff_client.post(f"{TASKS}add/", task_form(fixtures, title), content_type=FORM)

    assert response.status_code == 400
    assert b"not UTF-8" in response.content
    assert staff_client.get(TASKS, QUERY_STRING="q=" + title.decode("latin-1")).status_code == 400
    assert open_tasks(fixtures) == 2


@pytest.mark.parametrize("title", [b"\xed\xa0\x80", b"\xff", b"\xc3", b"a\0b"])
def test_a_multipart_form_with_text_that_cannot_be_stored_is_refused(staff_client, fixtures, title):
    kind = "multipart/form-data; boundary=edge"

    response = staff_client.post(f"{TASKS}add/", multipart(fixtures, title), content_type=kind)

    assert response.status_code == 400
    assert open_tasks(fixtures) == 2


def test_incomplete_character_in_base64_of_a_multipart_form_is_refused(staff_client, fixtures):
    body = multipart(fixtures, b"7aCA", b"\r\nContent-Transfer-Encoding: base64")

    response = staff_client.post(
        f"{TASKS}add/", body, content_type="multipart/form-data; boundary=edge"
    )

    assert response.status_code == 400
    assert open_tasks(fixtures) == 2


@pytest.mark.parametrize("title", ["é", "🚀", "\ufffd", "a+b & c"])
def test_admin_form_with_any_valid_unicode_is_saved(staff_client, fixtures, title):
    kind = "multipart/form-data; boundary=edge"
    urlencoded = task_form(fixtures, quote(title).encode())

    assert staff_client.post(f"{TASKS}add/", urlencoded, content_type=FORM).status_code == 302
    body = multipart(fixtures, title.encode())
    assert staff_client.post(f"{TASKS}add/", body, content_type=kind).status_code == 302

    with inside(fixtures.acme):
        assert Task.objects.filter(title=title).count() == 2
        assert Event.objects.filter(verb="created", subject_type="task").count() >= 2
