"""The admin for each kind of person: which pages open, which changes are possible, what is shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from accounts.actions.tenants import create_operator
from accounts.actions.tokens import create_token
from accounts.auth import ACTING_TENANT
from accounts.models import User, UserKind
from conftest import PASSWORD, person, sign_in_browser
from taskflow.audit.actor import TokenScope
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.invitations import invite
from tasks.actions.members import add_member
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag
from tasks.actions.webhooks import create_webhook, ping
from tasks.changes.tasks import create_task, update_task
from tasks.models import Comment, ProjectMember, Task
from tasks.tests.factories import ClaimFactory

pytestmark = [pytest.mark.one_database, pytest.mark.isolation]

# Acme's administrator; Apollo's owner, admin and member; a colleague outside the project; Globex's
# administrator at the host of Globex; an operator who works in Acme.
PEOPLE = ("boss", "ada", "carl", "bob", "eve", "mallory", "operator")
# page: the status that each of them gets
PAGES = {
    # address                                    boss  ada carl  bob  eve foreign operator
    "":                                          (200, 200, 200, 200, 200, 200, 200),
    "account/":                                  (200, 200, 200, 200, 200, 200, 200),
    "password_change/":                          (200, 200, 200, 200, 200, 200, 200),
    "search/?s=t":                               (200, 200, 200, 200, 200, 200, 200),
    "tasks/project/":                            (200, 200, 200, 200, 200, 200, 200),
    "tasks/project/add/":                        (200, 200, 200, 200, 200, 200, 200),
    "tasks/project/{project}/change/":           (200, 200, 200, 200, 404, 404, 200),
    "tasks/project/{project}/history/":          (200, 200, 200, 200, 404, 404, 200),
    "tasks/project/{project}/delete/":           (200, 200, 403, 403, 404, 404, 200),
    "tasks/task/":                               (200, 200, 200, 200, 200, 200, 200),
    "tasks/task/add/":                           (200, 200, 200, 200, 403, 200, 200),
    "tasks/task/{task}/change/":                 (200, 200, 200, 200, 404, 404, 200),
    "tasks/task/{task}/history/":                (200, 200, 200, 200, 404, 404, 200),
    "tasks/task/{task}/delete/":                 (200, 200, 200, 200, 404, 404, 200),
    "tasks/comment/":                            (200, 200, 200, 200, 200, 200, 200),
    "tasks/comment/{comment}/change/":           (200, 200, 200, 200, 404, 404, 200),
    "tasks/comment/{comment}/delete/":           (200, 200, 200, 403, 404, 404, 200),
    "tasks/page/":                               (200, 200, 200, 200, 200, 200, 200),
    "tasks/page/{draft}/change/":                (200, 200, 200, 404, 404, 404, 200),
    "tasks/page/{draft}/history/":               (200, 200, 200, 404, 404, 404, 200),
    "tasks/page/{page}/delete/":                 (200, 200, 200, 403, 404, 404, 200),
    "tasks/tag/":                                (200, 200, 200, 200, 200, 200, 200),
    "tasks/tag/add/":                            (200, 200, 200, 200, 200, 200, 200),
    "tasks/tag/{tag}/change/":                   (200, 200, 200, 200, 200, 404, 200),
    "tasks/tag/{tag}/delete/":                   (200, 403, 403, 403, 403, 404, 200),
    "tasks/projectmember/":                      (200, 200, 200, 200, 200, 200, 200),
    "tasks/projectmember/add/":                  (200, 200, 200, 403, 403, 200, 200),
    "tasks/projectmember/{carls}/change/":       (200, 200, 200, 200, 404, 404, 200),
    "tasks/projectmember/{carls}/delete/":       (200, 200, 200, 403, 404, 404, 200),
    "tasks/claim/":                              (200, 200, 200, 200, 200, 200, 200),
    "tasks/claim/{claim}/change/":               (200, 200, 200, 200, 404, 404, 200),
    "tasks/invitation/":                         (200, 403, 403, 403, 403, 200, 200),
    "tasks/invitation/{invitation}/change/":     (200, 403, 403, 403, 403, 404, 200),
    "tasks/webhook/":                            (200, 200, 200, 403, 403, 200, 200),
    "tasks/webhook/{webhook}/change/":           (200, 200, 200, 403, 403, 404, 200),
    "tasks/delivery/":                           (200, 200, 200, 403, 403, 200, 200),
    "tasks/delivery/{delivery}/change/":         (200, 200, 200, 403, 403, 404, 200),
    "accounts/user/":                            (200, 403, 403, 403, 403, 200, 200),
    "accounts/user/add/":                        (200, 403, 403, 403, 403, 200, 200),
    "accounts/user/{bob}/change/":               (200, 403, 403, 403, 403, 404, 200),
    "accounts/user/{bob}/history/":              (200, 403, 403, 403, 403, 404, 200),
    "accounts/user/{bob}/delete/":               (200, 403, 403, 403, 403, 404, 200),
    "accounts/user/{bob}/offboarding/":          (200, 403, 403, 403, 403, 404, 200),
    "accounts/user/new-agent/":                  (200, 403, 403, 403, 403, 200, 200),
    "accounts/apitoken/":                        (200, 200, 200, 200, 200, 200, 200),
    "accounts/apitoken/add/":                    (200, 200, 200, 200, 200, 200, 200),
    "accounts/apitoken/{token}/change/":         (200, 200, 404, 404, 404, 404, 200),
    "accounts/tenant/":                          (200, 403, 403, 403, 403, 200, 200),
    "accounts/tenant/{tenant}/change/":          (200, 403, 403, 403, 403, 404, 200),
    "audit/event/":                              (200, 200, 200, 200, 200, 200, 200),
    "audit/event/undo/":                         (200, 200, 200, 200, 200, 200, 200),
    "audit/event/{event}/change/":               (200, 200, 200, 200, 404, 404, 200),
    "audit/event/{user_event}/change/":          (200, 404, 404, 404, 404, 404, 200),
}  # fmt: skip
# what is posted: to where, the fields, and the statuses; 302: it was done. Nothing is left behind.
PROJECT = {"name": "New name", "key": "APO", "status": "active", "metadata": "{}"}
POSTS = {
    "add a task": ("tasks/task/add/", {"project": "{project}", "title": "x", "status": "todo",
                   "priority": "low", "metadata": "{{}}"}, (302, 302, 302, 302, 403, 200, 302)),
    "delete a task": ("tasks/task/{task}/delete/", {"post": "yes"},
                                                           (302, 302, 302, 302, 404, 404, 302)),
    "delete a project": ("tasks/project/{project}/delete/", {"post": "yes"},
                                                           (302, 302, 403, 403, 404, 404, 302)),
    "comment": ("tasks/comment/add/", {"task": "{task}", "body": "x"},
                                                           (302, 302, 302, 302, 403, 200, 302)),
    "edit a comment": ("tasks/comment/{comment}/change/", {"body": "y"},
                                                           (403, 403, 302, 403, 404, 404, 403)),
    "edit a page": ("tasks/page/{page}/change/", {"title": "y", "owner": "{ada}"},
                                                           (302, 302, 302, 403, 404, 404, 302)),
    "publish a page": ("tasks/page/{page}/publication/", {"unpublish": "1"},
                                                           (302, 302, 302, 403, 404, 404, 302)),
    "edit a tag": ("tasks/tag/{tag}/change/", {"name": "later"},
                                                           (302, 403, 403, 403, 403, 404, 302)),
    "add a member": ("tasks/projectmember/add/", {"project": "{project}", "user": "{eve}",
                     "role": "member"},                    (302, 302, 302, 403, 403, 200, 302)),
    "change a role": ("tasks/projectmember/{bobs}/change/", {"role": "admin"},
                                                           (302, 302, 302, 403, 404, 404, 302)),
    "end a membership": ("tasks/projectmember/{bobs}/delete/", {"post": "yes"},
                                                           (302, 302, 302, 302, 404, 404, 302)),
    "create a user": ("accounts/user/add/", {"kind": "human", "email": "n@acme.example",
                      "handle": "newcomer", "is_active": "on"},
                                                           (302, 403, 403, 403, 403, 302, 302)),
    "add an agent": ("accounts/user/new-agent/", {"handle": "helper", "project": "{project}",
                     "scope": "write"},                    (200, 403, 403, 403, 403, 200, 200)),
    "change the tenant": ("accounts/tenant/{tenant}/switch/", {},
                                                           (403, 403, 403, 403, 403, 403, 302)),
    "create a token": ("accounts/apitoken/add/", {"user": "{bob}", "name": "x", "scope": "admin",
                       "expires_in_days": "9"},            (200, 200, 200, 200, 200, 200, 200)),
    "off-board": ("accounts/user/{bob}/offboarding/", {}, (302, 403, 403, 403, 403, 404, 302)),
}  # fmt: skip


@dataclass
class Admin:
    """Browsers of all people, and the ids of the rows in their addresses."""

    fixtures: Any
    ids: dict[str, Any]
    browsers: dict[str, Client]

    def statuses(self, ask: Any) -> dict[str, int]:
        found = {}
        for name, browser in self.browsers.items():
            with transaction.atomic():  # each of them begins with the same rows
                found[name] = ask(browser).status_code
                transaction.set_rollback(True)
        return found

    def get(self, name: str, page: str) -> Any:
        return self.browsers[name].get("/admin/" + page.format(**self.ids))


@pytest.fixture
def rights(fixtures: Any) -> Admin:
    with inside(fixtures.acme):
        token, _ = create_token(fixtures.ada, name="of Ada", scope=TokenScope.READ)
        page = create_page(fixtures.ada, fixtures.apollo, title="Plan", is_published=True)
        webhook = create_webhook(fixtures.ada, url="https://a.example/", project=fixtures.apollo)
        comment = create_comment(fixtures.carl, fixtures.task, body="x")
        own = create_project(fixtures.ada, name="Hidden", key="HID")
        members = {m.user_id: m.pk for m in ProjectMember.objects.filter(project=fixtures.apollo)}
        ids = {
            "tenant": fixtures.acme.pk,
            "project": fixtures.apollo.pk,
            "task": fixtures.task.pk,
            "page": page.pk,
            "draft": create_page(fixtures.ada, fixtures.apollo, title="Draft").pk,
            "comment": comment.pk,
            "tag": create_tag(fixtures.bob, name="soon").pk,
            "carls": members[fixtures.carl.user.pk],
            "bobs": members[fixtures.bob.user.pk],
            "claim": ClaimFactory(actor=fixtures.bot, project=fixtures.apollo).pk,
            "invitation": invite(fixtures.boss, email="nora@acme.example").pk,
            "webhook": webhook.pk,
            "delivery": ping(fixtures.ada, webhook).pk,
            "token": token.pk,
            "bob": fixtures.bob.user.pk,
            "ada": fixtures.ada.user.pk,
            "eve": fixtures.eve.user.pk,
            "hidden": own.pk,
            "hidden_task": create_task(fixtures.ada, own, title="Unspoken").pk,
            "event": Event.objects.filter(subject_type="task").earliest("pk").pk,
            "user_event": Event.objects.filter(subject_type="user").earliest("pk").pk,
        }
    return Admin(fixtures, ids, {name: open_browser(fixtures, name) for name in PEOPLE})


def open_browser(fixtures: Any, name: str) -> Client:
    """Return a browser in which this person is signed in."""
    if name != "operator":
        actor = getattr(fixtures, name)
        client = Client(SERVER_NAME=f"{actor.tenant.subdomain}.localhost")
        with inside(actor.tenant):
            sign_in_browser(client, actor.user)
        return client
    operator = create_operator(email="op@platform.example", full_name="Op", password=PASSWORD)
    client = Client(SERVER_NAME="platform.localhost")
    with inside(operator.tenant):
        sign_in_browser(client, operator)
    stored = client.session
    stored[ACTING_TENANT] = fixtures.acme.pk
    stored.save()
    return client


@pytest.mark.sampled(12)
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.slow
def test_each_person_opens_what_the_rules_permit(rights, page):
    address = "/admin/" + page.format(**rights.ids)

    statuses = rights.statuses(lambda browser: browser.get(address))

    assert statuses == dict(zip(PEOPLE, PAGES[page], strict=True))


@pytest.mark.sampled(8)
@pytest.mark.parametrize("what", POSTS)
@pytest.mark.slow
def test_each_person_changes_what_the_rules_permit(rights, what):
    page, fields, expected = POSTS[what]
    address = "/admin/" + page.format(**rights.ids)
    sent = {name: value.format(**rights.ids) for name, value in fields.items()}

    statuses = rights.statuses(lambda browser: browser.post(address, sent))

    assert statuses == dict(zip(PEOPLE, expected, strict=True))


# ---- what is shown ------------------------------------------------------------------------------

HIDDEN = ("Unspoken", "Hidden", "HID")  # of Ada's project, of which Bob is no member
TEXT_PAGES = (
    "",
    "tasks/project/",
    "tasks/task/",
    "tasks/task/?project__id__exact={hidden}",
    "tasks/task/add/",
    "tasks/task/add/?project={hidden}&parent={hidden_task}",
    "tasks/task/{task}/change/",
    "tasks/task/{task}/history/",
    "tasks/projectmember/",
    "tasks/projectmember/?project__id__exact={hidden}",
    "audit/event/",
    "audit/event/undo/",
    "search/?s=unspoken&extended=1",
    "autocomplete/?app_label=tasks&model_name=task&field_name=project&term=",
    "autocomplete/?app_label=tasks&model_name=task&field_name=parent&term=",
    "autocomplete/?app_label=tasks&model_name=task&field_name=blocked_by&term=",
    "autocomplete/?app_label=tasks&model_name=comment&field_name=task&term=un",
    "autocomplete/?app_label=tasks&model_name=projectmember&field_name=project&term=",
)


@pytest.mark.slow
def test_pages_of_a_member_show_nothing_of_other_projects(rights):
    for page in TEXT_PAGES:
        r = rights.get("bob", page)
        text = r.content.decode()

        assert r.status_code == 200, page
        assert not [word for word in HIDDEN if word in text], page
    assert "Unspoken" in rights.get("ada", "tasks/task/").content.decode()


@pytest.mark.slow
def test_rows_of_other_projects_cannot_be_chosen(rights):
    task = {"title": "x", "status": "todo", "priority": "low", "metadata": "{}"}
    sent = [
        ("tasks/task/add/", task | {"project": rights.ids["hidden"]}),
        ("tasks/task/add/", task | {"project": rights.ids["project"],
                                    "parent": rights.ids["hidden_task"]}),
        ("tasks/task/add/", task | {"project": rights.ids["project"],
                                    "blockers": [rights.ids["hidden_task"]]}),
        ("tasks/comment/add/", {"task": rights.ids["hidden_task"], "body": "x"}),
        ("tasks/page/add/", {"project": rights.ids["hidden"], "title": "x",
                             "owner": rights.ids["bob"]}),
    ]  # fmt: skip
    for page, fields in sent:
        r = rights.browsers["bob"].post(f"/admin/{page}", fields)

        assert r.status_code == 200, page
        assert "of the list." in r.content.decode(), (page, fields)


@pytest.mark.slow
def test_edit_keeps_blockers_that_the_member_cannot_see(rights):
    with inside(rights.fixtures.acme):
        hidden = Task.objects.get(pk=rights.ids["hidden_task"])
        update_task(rights.fixtures.ada, rights.fixtures.task, blocked_by=[hidden])
        other = create_task(rights.fixtures.ada, rights.fixtures.apollo, title="First")
    page = f"/admin/tasks/task/{rights.ids['task']}/change/"
    form = rights.browsers["bob"].get(page).context["adminform"].form
    sent = {"title": "Launch", "project": rights.ids["project"], "status": "todo",
            "priority": "medium", "metadata": "{}", "blockers": [other.pk],
            "row_version": form["row_version"].value()}  # fmt: skip

    r = rights.browsers["bob"].post(page, sent)

    assert r.status_code == 302, r.context["errors"]
    with inside(rights.fixtures.acme):
        blockers = set(rights.fixtures.task.blocked_by.values_list("pk", flat=True))
    assert blockers == {rights.ids["hidden_task"], other.pk}


def test_bulk_action_changes_no_row_that_the_member_cannot_see(rights):
    for action in ("complete", "delete_selected"):
        sent = {"action": action, "_selected_action": [rights.ids["hidden_task"]], "post": "yes"}
        rights.browsers["bob"].post("/admin/tasks/task/", sent)

    with inside(rights.fixtures.acme):
        assert Task.objects.get(pk=rights.ids["hidden_task"]).status == "todo"


@pytest.mark.sampled(1)
@pytest.mark.parametrize(
    ("name", "pages"),
    [
        ("boss", {"Users", "Invitations", "Tenants", "Webhooks", "Tokens", "Tasks"}),
        ("carl", {"Webhooks", "Tokens", "Tasks"}),
        ("bob", {"Tokens", "Tasks"}),
    ],
)
@pytest.mark.slow
def test_menu_has_only_pages_that_the_person_can_open(rights, name, pages):
    groups = rights.get(name, "account/").context["sidebar_navigation"]

    titles = {str(item["title"]) for group in groups for item in group["items"]}
    assert titles & {"Users", "Invitations", "Tenants", "Webhooks", "Tokens", "Tasks"} == pages
    for group in groups:
        for item in group["items"]:
            assert rights.browsers[name].get(str(item["link"])).status_code == 200, item["title"]


def test_members_see_own_tokens_and_those_of_own_agents_only(rights):
    assert "of Ada" in rights.get("ada", "accounts/apitoken/").content.decode()
    assert "of Ada" not in rights.get("bob", "accounts/apitoken/").content.decode()
    sent = {"user": rights.ids["ada"], "name": "x", "scope": "admin", "expires_in_days": "9"}

    r = rights.browsers["bob"].post("/admin/accounts/apitoken/add/", sent)

    assert "for yourself and for your own agents only" in r.content.decode()


def test_inlines_of_a_project_can_be_changed_by_its_managers_only(rights):
    page = "tasks/project/{project}/change/"
    for name, is_manager in (("carl", True), ("bob", False)):
        inlines = rights.get(name, page).context["inline_admin_formsets"]
        assert [i.has_change_permission for i in inlines] == [is_manager] * len(inlines) != []


def test_member_chooses_users_although_their_pages_are_closed(rights):
    page = "autocomplete/?app_label=tasks&model_name=task&field_name=assignee&term=carl"

    r = rights.get("bob", page)

    assert r.status_code == 200
    assert [row["id"] for row in r.json()["results"]] == [str(rights.fixtures.carl.user.pk)]


def test_refusal_names_the_rule_and_what_to_do(rights):
    r = rights.get("bob", "accounts/user/")

    assert "Only an administrator of the tenant may do this." in r.content.decode()
    assert "ask an administrator of the tenant" in r.content.decode()
    missing = rights.get("bob", "tasks/task/{hidden_task}/change/").content.decode()
    assert "There is nothing at this address that you can see." in missing


def test_changes_of_a_member_are_recorded_as_made_in_the_admin(rights):
    sent = {"task": rights.ids["task"], "body": "Ready"}

    rights.browsers["bob"].post("/admin/tasks/comment/add/", sent)

    with inside(rights.fixtures.acme):
        comment = Comment.objects.get(body="Ready")
        event = Event.objects.get(subject_type="comment", subject_id=comment.pk)
    assert (event.via, event.actor_id) == ("admin", rights.ids["bob"])


def test_addresses_of_clients_are_shown_to_administrators_only(rights):
    with inside(rights.fixtures.acme):
        Event.objects.filter(pk=rights.ids["event"]).update(address="192.0.2.7")

    for name, is_shown in (("boss", True), ("bob", False)):
        for page in ("audit/event/{event}/change/", "tasks/task/{task}/history/"):
            assert ("192.0.2.7" in rights.get(name, page).content.decode()) is is_shown, page


# ---- signing in ---------------------------------------------------------------------------------


def test_member_signs_in_and_agent_gets_a_sentence(fixtures):
    with inside(fixtures.acme):
        member = person(fixtures.boss, "nina", PASSWORD)
        agent = person(fixtures.boss, "former", PASSWORD)
        User.objects.filter(pk=agent.user.pk).update(kind=UserKind.AGENT)
    client = Client(SERVER_NAME="acme.localhost")

    def sign_in(email):
        return client.post("/admin/login/", {"username": email, "password": PASSWORD})

    assert "Agents cannot sign in here." in sign_in(agent.user.email).content.decode()
    assert client.get("/admin/").status_code == 302
    assert sign_in(member.user.email).status_code == 302
    assert client.get("/admin/").status_code == 200


def test_lists_of_a_member_cost_no_more_statements_with_more_rows(rights, assert_statements):
    browser = rights.browsers["bob"]
    for page, count in (("tasks/task/", 9), ("tasks/comment/", 8)):
        browser.get(f"/admin/{page}")
        with inside(rights.fixtures.acme):
            for number in range(3):
                task = create_task(
                    rights.fixtures.ada, rights.fixtures.apollo, title=f"More {number}"
                )
                create_comment(rights.fixtures.ada, task, body="x")
            add_member(rights.fixtures.boss, rights.fixtures.apollo,
                       user=person(rights.fixtures.boss, f"n{count}{page[6]}").user)  # fmt: skip
        with assert_statements(count):
            browser.get(f"/admin/{page}")


def test_operator_cannot_take_a_task_by_a_request_without_the_button(rights):
    with inside(rights.fixtures.acme):
        before = rights.fixtures.task.assignee_id
    assert before is not None
    path = f"/admin/tasks/task/{rights.fixtures.task.pk}/verb/"

    r = rights.browsers["operator"].post(path, {"verb": "assign"}, follow=True)

    assert "An operator has no user in the tenant" in r.content.decode()
    with inside(rights.fixtures.acme):
        assert Task.objects.get(pk=rights.fixtures.task.pk).assignee_id == before
