"""The page of a task: its heading, the buttons, and the tabs with all that belongs to the task."""

from __future__ import annotations

import re

import pytest
from django.contrib.messages import get_messages
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from conftest import PASSWORD, new_tenant, person
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.changes.tasks import complete_task, create_task, update_task
from tasks.models import Comment, Task
from tasks.tests.factories import ProjectFactory, TaskFactory
from tasks.tests.test_admin import sign_in

pytestmark = pytest.mark.one_database


class Fixtures:
    """Root administers Acme, where Ada owns Web. Globex has a task of its own."""

    def __init__(self):
        self.root = new_tenant("acme", "root", PASSWORD)
        self.them = new_tenant("globex", "mallory", PASSWORD)
        self.ada = person(self.root, "ada")
        self.web = ProjectFactory(actor=self.ada, name="Website", key="WEB")
        self.other = ProjectFactory(actor=self.ada, name="Other", key="OTH")
        self.task = TaskFactory(actor=self.ada, project=self.web, title="Pack <flag>")
        secret = ProjectFactory(actor=self.them, name="Secret", key="SEC")
        self.plot = TaskFactory(actor=self.them, project=secret, title="Plot")

    def stored(self):
        with inside(self.root.tenant):
            return Task.everything.select_related("project").get(pk=self.task.pk)

    def comments(self):
        with inside(self.root.tenant):
            return list(Comment.objects.order_by("id").values_list("body", flat=True))


@pytest.fixture
def rows(db):
    return Fixtures()


@pytest.fixture
def client(rows):
    return sign_in("root@acme.example")


def address(task, tab="change"):
    return f"/admin/tasks/task/{task.pk}/{tab}/"


def press(client, task, verb, **more):
    return client.post(address(task, "verb"), {"verb": verb, **more})


def messages_of(response):
    """The sentences of the messages, without the button that leads to their undo."""
    return [
        str(message).partition(" <button ")[0] for message in get_messages(response.wsgi_request)
    ]


TABS = ["change", "subtasks", "comments", "links", "history"]


# ---- the head -----------------------------------------------------------------------------------


@pytest.mark.parametrize("tab", TABS)
def test_each_tab_shows_the_key_and_marks_itself(rows, client, tab):
    page = client.get(address(rows.task, tab)).content.decode()

    assert '<span class="task-head-key">WEB-1</span> Pack &lt;flag&gt;</h2>' in page
    marked = re.findall(r'href="([^"]*)" aria-current="page"', page)
    assert marked == [address(rows.task, tab)]
    assert 'value="complete"' in page


@pytest.mark.isolation
@pytest.mark.parametrize("tab", [*TABS[1:], "move"])
def test_task_of_another_tenant_has_no_page(rows, client, tab):
    assert client.get(address(rows.plot, tab)).status_code == 404


@pytest.mark.parametrize("pk", ["0", "x", "9" * 30])
def test_tab_of_text_that_is_no_id_is_not_found(rows, client, pk):
    assert client.get(f"/admin/tasks/task/{pk}/comments/").status_code == 404


def test_add_page_has_no_head(rows, client):
    page = client.get("/admin/tasks/task/add/").content.decode()

    assert "task-head" not in page


# ---- buttons ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "sentence", "values"),
    [
        ("complete", "WEB-1 is completed.", {"status": "done"}),
        ("start", "WEB-1 is in progress.", {"status": "in_progress"}),
        ("assign", "WEB-1 is assigned to you.", {"status": "todo"}),
    ],
)
def test_button_carries_out_its_verb(rows, client, verb, sentence, values):
    r = press(client, rows.task, verb)

    assert (r.status_code, r["Location"]) == (302, address(rows.task))
    assert messages_of(r) == [sentence]
    assert rows.stored().status == values["status"]
    if verb == "assign":
        assert rows.stored().assignee_id == rows.root.user.pk


def test_done_task_offers_to_reopen_it_only(rows, client):
    with inside(rows.root.tenant):
        complete_task(rows.ada, rows.task)
    page = client.get(address(rows.task)).content.decode()

    assert 'value="reopen"' in page
    assert 'value="complete"' not in page
    assert messages_of(press(client, rows.task, "reopen")) == ["WEB-1 is open again."]
    assert rows.stored().status == "todo"


def test_started_task_of_the_user_does_not_offer_start_and_assign(rows, client):
    with inside(rows.root.tenant):
        update_task(rows.root, rows.task, status="in_progress", assignee=rows.root.user)

    page = client.get(address(rows.task)).content.decode()

    assert 'value="complete"' in page
    assert 'value="start"' not in page
    assert 'value="assign"' not in page


def test_completing_with_open_work_lists_it_and_offers_to_complete_anyway(rows, client):
    with inside(rows.root.tenant):
        blocker = create_task(rows.ada, rows.other, title="Fuel")
        create_task(rows.ada, rows.web, title="Sew", parent=rows.task)
        update_task(rows.ada, rows.task, blocked_by=[blocker])

    refused = press(client, rows.task, "complete")
    page = refused.content.decode()

    assert refused.status_code == 409
    assert "OTH-1 Fuel" in page
    assert "WEB-2 Sew" in page
    assert "Complete anyway" in page
    assert "force=true" not in page
    assert rows.stored().status == "todo"
    assert press(client, rows.task, "complete", force="1").status_code == 302
    assert rows.stored().status == "done"


def test_reopening_below_a_done_parent_names_the_parent(rows, client):
    with inside(rows.root.tenant):
        parent = create_task(rows.ada, rows.web, title="Trip")
        update_task(rows.ada, rows.task, parent=parent)
        complete_task(rows.ada, rows.task)
        complete_task(rows.ada, parent)

    page = press(client, rows.task, "reopen").content.decode()

    assert "WEB-2 Trip" in page
    assert "Reopen anyway" in page


def test_unknown_verb_is_not_found_and_a_link_changes_nothing(rows, client):
    assert press(client, rows.task, "explode").status_code == 404
    assert client.get(address(rows.task, "verb")).status_code == 405


def test_task_is_moved_and_keeps_its_former_address(rows, client):
    assert "among=unarchived_projects" in client.get(address(rows.task, "move")).text
    source = {"app_label": "tasks", "model_name": "task", "field_name": "project"}
    source |= {"among": "unarchived_projects", "term": "oth"}
    offered = client.get(reverse("admin:autocomplete"), source).json()["results"]
    assert offered == [{"id": str(rows.other.pk), "text": "OTH · Other"}]

    r = client.post(address(rows.task, "move"), {"project": rows.other.pk})

    assert messages_of(r) == ["WEB-1 was moved to “Other” and is now OTH-1."]
    assert rows.stored().key == "OTH-1"


def test_refused_move_shows_the_reason(rows, client):
    with inside(rows.root.tenant):
        update_task(rows.ada, rows.task, external_ref="x")
        create_task(rows.ada, rows.other, title="Same", external_ref="x")

    r = client.post(address(rows.task, "move"), {"project": rows.other.pk})

    assert "has external id “x”" in r.content.decode()
    assert rows.stored().key == "WEB-1"


# ---- comments -----------------------------------------------------------------------------------


def test_comments_are_rendered_with_keys_and_mentions(rows, client):
    with inside(rows.root.tenant):
        create_comment(rows.ada, rows.task, body="**Bold** for @ada, see WEB-1 <script>x</script>")

    page = client.get(address(rows.task, "comments")).content.decode()

    assert "<strong>Bold</strong>" in page
    assert 'class="mention"' in page
    assert f'<a href="{address(rows.task)}" title="Pack &lt;flag&gt;" class="task-key"' in page
    assert "<script>x" not in page


def test_comment_is_added(rows, client):
    r = client.post(address(rows.task, "comments"), {"do": "add", "body": "Done\r\nsoon"})

    assert r["Location"] == address(rows.task, "comments")
    assert rows.comments() == ["Done\nsoon"]


@pytest.mark.parametrize("body", ["", "  ", "x" * 65_537])
def test_refused_comment_keeps_the_typed_text(rows, client, body):
    r = client.post(address(rows.task, "comments"), {"do": "add", "body": body})

    assert r.status_code == 422
    assert body in r.content.decode()
    assert rows.comments() == []


def test_own_comment_is_changed_and_another_one_is_not(rows, client):
    with inside(rows.root.tenant):
        own = create_comment(rows.root, rows.task, body="Mine")
        other = create_comment(rows.ada, rows.task, body="Of the other")
    form = client.get(address(rows.task, "comments") + f"?edit={own.pk}").content.decode()
    assert 'id="edited-comment"' in form
    assert (
        'id="edited-comment"'
        not in client.get(address(rows.task, "comments") + f"?edit={other.pk}").content.decode()
    )

    changed = client.post(
        address(rows.task, "comments"),
        {"do": "edit", "comment": own.pk, "version": own.version, "body": "Mine, anew"},
    )
    refused = client.post(
        address(rows.task, "comments"), {"do": "edit", "comment": other.pk, "body": "x"}
    )

    assert (changed.status_code, refused.status_code) == (302, 422)
    assert "Only the author of a comment may change it." in refused.content.decode()
    assert rows.comments() == ["Mine, anew", "Of the other"]


def test_edit_of_a_comment_that_was_changed_meanwhile_is_refused(rows, client):
    with inside(rows.root.tenant):
        own = create_comment(rows.root, rows.task, body="Mine")
    data = {"do": "edit", "comment": own.pk, "version": own.version}
    client.post(address(rows.task, "comments"), data | {"body": "First"})

    r = client.post(address(rows.task, "comments"), data | {"body": "Second"})

    assert r.status_code == 422
    assert "changed it at" in r.content.decode()
    assert "Second" in r.content.decode()
    assert rows.comments() == ["First"]


def sent_by(form, button):
    """Return what a browser sends when a button of the form of a comment is pressed."""
    hidden = re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', form.split("</form>")[0])
    return dict(hidden) | {"do": button}


def test_second_save_of_a_conflicting_comment_replaces_only_what_was_shown(rows, client):
    with inside(rows.root.tenant):
        own = create_comment(rows.root, rows.task, body="Mine")
    where = address(rows.task, "comments")
    data = {"do": "edit", "comment": own.pk, "version": own.version}
    client.post(where, data | {"body": "First"})

    page = client.post(where, data | {"body": "Second"}).content.decode()
    form = page[page.index('name="comment"') - 100 :]
    again = client.post(where, sent_by(form, "edit") | {"body": "Second"})

    assert "First" in form
    assert again.status_code == 422
    assert rows.comments() == ["First"]
    client.post(where, sent_by(form, "overwrite") | {"body": "Second"})
    assert rows.comments() == ["Second"]
    late = client.post(where, sent_by(form, "overwrite") | {"body": "Third"})
    assert late.status_code == 422
    assert rows.comments() == ["Second"]


def test_comment_is_deleted_to_the_trash(rows, client):
    with inside(rows.root.tenant):
        comment = create_comment(rows.ada, rows.task, body="Of the other")

    client.post(address(rows.task, "comments"), {"do": "delete", "comment": comment.pk})

    assert rows.comments() == []
    with inside(rows.root.tenant):
        assert Comment.everything.get().deleted_at is not None


def test_comment_of_another_task_is_not_found(rows, client):
    with inside(rows.root.tenant):
        elsewhere = create_task(rows.ada, rows.other, title="Elsewhere")
        comment = create_comment(rows.ada, elsewhere, body="x")

    r = client.post(address(rows.task, "comments"), {"do": "delete", "comment": comment.pk})

    assert r.status_code == 404


# ---- subtasks, links and history ----------------------------------------------------------------


def test_subtask_is_added_and_listed(rows, client):
    client.post(address(rows.task, "subtasks"), {"title": "  Sew  "})

    page = client.get(address(rows.task, "subtasks")).content.decode()
    assert "WEB-2 Sew" in page
    with inside(rows.root.tenant):
        assert Task.objects.get(title="Sew").parent_id == rows.task.pk


def test_subtask_without_a_title_is_refused(rows, client):
    r = client.post(address(rows.task, "subtasks"), {"title": " "})

    assert r.status_code == 422
    assert messages_of(r) or "title" in r.content.decode()


def test_links_show_both_directions_with_key_title_and_project(rows, client):
    with inside(rows.root.tenant):
        before = create_task(rows.ada, rows.other, title="Fuel")
        after = create_task(rows.ada, rows.web, title="Launch", blocked_by=[rows.task])
        links = [{"url": "https://a.example/", "title": "Plan"}]
        update_task(rows.ada, rows.task, blocked_by=[before], links=links)

    page = client.get(address(rows.task, "links")).content.decode()

    assert page.index("Blocked by") < page.index("OTH-1 Fuel") < page.index("Blocks")
    assert page.index("Blocks") < page.index(f"{after.key} Launch")
    assert 'href="https://a.example/"' in page


def test_history_has_undo(rows, client):
    with inside(rows.root.tenant):
        update_task(rows.ada, rows.task, priority="high")

    page = client.get(address(rows.task, "history")).content.decode()

    assert "Undo its request" in page or ">Undo<" in page
    assert "High" in page


def test_description_is_rendered_above_the_form(rows, client):
    with inside(rows.root.tenant):
        update_task(rows.ada, rows.task, description="see **this**")

    assert "see <strong>this</strong>" in client.get(address(rows.task)).content.decode()


# ---- constant queries ---------------------------------------------------------------------------


@pytest.mark.sampled(1)
@pytest.mark.parametrize(("tab", "budget"), [("change", 20), ("subtasks", 14), ("comments", 16)])
@pytest.mark.slow
def test_more_rows_cost_no_more_statements(rows, client, tab, budget):
    def count():
        with CaptureQueriesContext(connection) as queries:
            assert client.get(address(rows.task, tab)).status_code == 200
        return len(queries)

    def grow(amount):
        with inside(rows.root.tenant):
            for number in range(amount):
                create_comment(rows.ada, rows.task, body=f"{number} for @ada, see WEB-1")
                subtask = create_task(rows.ada, rows.web, title=f"{number}", parent=rows.task)
                update_task(rows.ada, subtask, assignee=rows.ada.user)

    grow(1)
    few = count()
    grow(50)

    assert count() == few
    assert few <= budget
