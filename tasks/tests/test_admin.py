"""The admin: every page responds, shows one tenant, and writes through the actions."""

from __future__ import annotations

import dataclasses

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from accounts.actions.tenants import create_operator
from accounts.actions.tokens import issue_token
from accounts.actions.users import create_user
from accounts.models import ApiToken, Tenant, User
from conftest import PASSWORD, new_tenant, person
from taskflow.audit.actor import TokenScope
from taskflow.audit.models import Event
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.members import add_member, change_role
from tasks.actions.pages import create_page
from tasks.actions.projects import create_project
from tasks.actions.tags import create_tag
from tasks.changes.tasks import create_task, delete_task, update_task
from tasks.models import Comment, Page, Project, ProjectMember, Role, Tag, Task

MODELS = [Project, ProjectMember, Task, Comment, Page, Tag, User, ApiToken, Event, Tenant]


def address(model, view, pk=None):
    page = f"/admin/{model._meta.app_label}/{model._meta.model_name}/"
    return page + {"list": "", "add": "add/"}.get(view, f"{pk}/{view}/")


def sign_in(email, host="acme.localhost"):
    client = Client(SERVER_NAME=host)
    r = client.post("/admin/login/?next=/admin/", {"username": email, "password": PASSWORD})
    assert r.status_code == 302, r.content
    return client


class House:
    """Root administers Acme, where Apollo has a task; Globex has a project of its own."""

    def __init__(self):
        self.root, self.them = (
            new_tenant("acme", "root", PASSWORD),
            new_tenant("globex", "mallory", PASSWORD),
        )
        with inside(self.root.tenant):
            self.ada = person(self.root, "ada")
            self.apollo = create_project(self.ada, name="Apollo", key="APO")
            self.task = create_task(self.ada, self.apollo, title="Launch", tags=["hot"])
            issue_token(self.ada, self.ada.user, "t", TokenScope.READ, None)
            create_comment(self.root, self.task, body="Ready?")
            self.page = create_page(self.ada, self.apollo, title="Plan")
        with inside(self.them.tenant):
            self.secret = create_project(self.them, name="Secret", key="SEC")
            self.plot = create_task(self.them, self.secret, title="Plot")

    def events(self, **filters):
        with inside(self.root.tenant):
            return list(Event.objects.filter(via="admin", **filters).order_by("id"))


@pytest.fixture
def house(db):
    return House()


@pytest.fixture
def staff(house):
    return sign_in("root@acme.example")


def form_of(response):
    """Return the form data that a browser would send."""
    data = {}
    context = response.context
    forms = [context["adminform"].form]
    for formset in context["inline_admin_formsets"]:
        forms += [formset.formset.management_form, *formset.formset.forms]
    for form in forms:
        for bound in form:
            value = bound.value()
            if value is None or value is False or (isinstance(value, list) and not value):
                continue
            data[bound.html_name] = (
                [getattr(v, "pk", v) for v in value] if isinstance(value, list) else value
            )
    for name in [n for n in data if n.endswith("metadata")]:
        data[name] = "{}"
    due = data.pop("due_date", None)
    assert due is None
    return data


# ---- every page answers -------------------------------------------------------------------------


@pytest.mark.sampled(4)
@pytest.mark.parametrize("model", MODELS)
def test_every_page_responds(house, staff, model):
    with inside(house.root.tenant):
        pk = (
            Tenant.objects.get(subdomain="acme").pk if model is Tenant else model.objects.first().pk
        )

    assert staff.get(address(model, "list")).status_code == 200
    assert staff.get(address(model, "list") + "?q=a").status_code == 200
    assert staff.get(address(model, "change", pk)).status_code == 200
    assert staff.get(address(model, "history", pk), follow=True).status_code == 200
    can_add = model not in (Event, Tenant)
    assert staff.get(address(model, "add")).status_code == (200 if can_add else 403)
    can_delete = model not in (Event, Tenant, ApiToken)
    assert staff.get(address(model, "delete", pk)).status_code == (200 if can_delete else 403)


def test_every_model_is_registered():
    assert set(MODELS) <= admin.site._registry.keys()


def test_first_page_shows_tasks_and_tenant(house, staff):
    page = staff.get("/admin/").content.decode()

    assert "To do" in page
    assert "Launch" in page
    assert "Acme" in page
    assert "Secret" not in page


# ---- one tenant ---------------------------------------------------------------------------------


@pytest.mark.isolation
def test_lists_forms_and_autocomplete_show_one_tenant(house, staff):
    assert "Plot" not in staff.get(address(Task, "list")).content.decode()
    assert staff.get(address(Task, "change", house.plot.pk)).status_code == 302
    assert staff.get(address(Project, "history", house.secret.pk)).status_code == 404
    found = staff.get(
        "/admin/autocomplete/?app_label=tasks&model_name=task&field_name=project&term="
    ).json()["results"]
    assert [int(row["id"]) for row in found] == [house.apollo.pk]


@pytest.mark.isolation
def test_row_of_another_tenant_cannot_be_chosen(house, staff):
    data = {
        "project": house.secret.pk,
        "title": "x",
        "status": "todo",
        "priority": "low",
        "metadata": "{}",
    }

    r = staff.post(address(Task, "add"), data)

    assert r.status_code == 200
    assert "not one of the available choices" in r.content.decode()


@pytest.mark.isolation
def test_bulk_action_changes_no_other_tenant(house, staff):
    data = {"action": "delete_selected", "_selected_action": [house.plot.pk], "post": "yes"}

    staff.post(address(Task, "list"), data)

    with inside(house.them.tenant):
        assert Task.objects.count() == 1


def test_session_is_not_valid_at_another_tenants_host(house, staff):
    elsewhere = Client(SERVER_NAME="globex.localhost")
    elsewhere.cookies = staff.cookies

    r = elsewhere.get(address(Task, "list"))

    assert r.status_code == 302
    assert r.url.startswith("/admin/login/")


def test_unknown_host_has_no_admin(house):
    assert Client(SERVER_NAME="nobody.localhost").get("/admin/").status_code == 404


def test_only_staff_can_sign_in_to_admin(house):
    with inside(house.root.tenant):
        create_user(house.root, email="bob@acme.example", password=PASSWORD)
    client = Client(SERVER_NAME="acme.localhost")

    r = client.post("/admin/login/", {"username": "bob@acme.example", "password": PASSWORD})

    assert r.status_code == 200
    assert client.get("/admin/").status_code == 302


# ---- operators ----------------------------------------------------------------------------------


@pytest.fixture
def operator(house):
    create_operator(email="op@platform.example", full_name="Op", password=PASSWORD)
    return sign_in("op@platform.example", "platform.localhost")


def work_in(operator, tenant):
    data = {"action": "work_here", "_selected_action": [tenant.pk]}
    return operator.post(address(Tenant, "list"), data)


def test_operator_can_pick_tenant_and_work_in_it(house, operator):
    assert "Launch" not in operator.get(address(Task, "list")).content.decode()

    work_in(operator, house.root.tenant)

    assert "Launch" in operator.get(address(Task, "list")).content.decode()
    assert "Plot" not in operator.get(address(Task, "list")).content.decode()
    r = operator.post(address(Tag, "add"), {"name": "by operator", "color": ""})
    assert r.status_code == 302
    (event,) = house.events(subject_type="tag")
    assert (event.actor_id, event.operator_id is not None) == (None, True)
    assert operator.get(address(Tag, "history", event.subject_id)).status_code == 200


def test_staff_cannot_pick_a_tenant(house, staff):
    r = work_in(staff, house.them.tenant)

    assert r.status_code in (200, 302)
    assert "Plot" not in staff.get(address(Task, "list")).content.decode()
    assert "Globex" not in staff.get(address(Tenant, "list")).content.decode()


# ---- writing ------------------------------------------------------------------------------------


def test_adding_task_in_form(house, staff):
    with inside(house.root.tenant):
        tag = Tag.objects.get()
    data = {
        "project": house.apollo.pk,
        "title": "Land",
        "status": "done",
        "priority": "high",
        "labels": [tag.pk],
        "metadata": "{}",
    }

    r = staff.post(address(Task, "add"), data)

    assert r.status_code == 302, r.context["errors"]
    with inside(house.root.tenant):
        task = Task.objects.get(title="Land")
        assert (task.number, task.created_by_id, [*task.tags.all()]) == (
            2,
            house.root.user.pk,
            [tag],
        )
        assert task.completed_at is not None
    (event,) = house.events(subject_type="task")
    assert (event.verb, event.actor_id) == ("created", house.root.user.pk)


def test_changing_task_in_form_records_changes(house, staff):
    page = staff.get(address(Task, "change", house.task.pk))

    r = staff.post(address(Task, "change", house.task.pk), form_of(page) | {"title": "Lift off"})

    assert r.status_code == 302, r.context["errors"]
    (event,) = house.events()
    assert (event.verb, event.changes) == ("changed", {"title": ["Launch", "Lift off"]})


def test_saving_unchanged_form_records_nothing(house, staff):
    page = staff.get(address(Project, "change", house.apollo.pk))

    r = staff.post(address(Project, "change", house.apollo.pk), form_of(page))

    assert r.status_code == 302, r.context["errors"]
    assert house.events() == []


def test_inlines_write_through_the_actions(house, staff):
    with inside(house.root.tenant):
        bob = person(house.root, "bob")
    page = staff.get(address(Project, "change", house.apollo.pk))
    data = form_of(page) | {
        "memberships-TOTAL_FORMS": "2",
        "memberships-1-user": bob.user.pk,
        "memberships-1-role": "member",
        "memberships-1-project": house.apollo.pk,
        "tasks-0-status": "done",
    }

    r = staff.post(address(Project, "change", house.apollo.pk), data)

    assert r.status_code == 302, [f.formset.errors for f in r.context["inline_admin_formsets"]]
    assert [(e.subject_type, e.verb) for e in house.events()] == [
        ("projectmember", "joined"),
        ("task", "completed"),
    ]


def test_refusal_is_shown_in_form_and_nothing_is_saved(house, staff):
    """The last owner stays owner, and the other fields of the form keep their input."""
    page = staff.get(address(Project, "change", house.apollo.pk))
    data = form_of(page) | {"name": "Apollo 11", "memberships-0-role": "member"}

    r = staff.post(address(Project, "change", house.apollo.pk), data)

    assert r.status_code == 200
    assert "The last owner cannot leave." in r.content.decode()
    assert "Apollo 11" in r.content.decode()
    assert house.events() == []


def test_taken_key_is_a_form_error(house, staff):
    data = {
        "name": "Other", "key": "APO", "status": "active", "owner": house.ada.user.pk, "metadata": "{}",
        "memberships-TOTAL_FORMS": 0, "memberships-INITIAL_FORMS": 0,
        "tasks-TOTAL_FORMS": 0, "tasks-INITIAL_FORMS": 0,
    }  # fmt: skip

    r = staff.post(address(Project, "add"), data)

    assert r.status_code == 200
    assert "Another project, maybe one in the trash, has this key." in r.content.decode()


def test_deleting_one_or_many_calls_the_actions(house, staff):
    with inside(house.root.tenant):
        others = [create_task(house.ada, house.apollo, title=f"t{n}") for n in range(2)]

    staff.post(address(Task, "delete", house.task.pk), {"post": "yes"})
    data = {"action": "delete_selected", "_selected_action": [t.pk for t in others], "post": "yes"}
    staff.post(address(Task, "list"), data)

    with inside(house.root.tenant):
        assert Task.objects.count() == 0
    assert [e.verb for e in house.events(subject_type="task")] == ["deleted"] * 3


def test_refused_deletion_of_user_shows_reason(house, staff):
    r = staff.post(address(User, "delete", house.ada.user.pk), {"post": "yes"}, follow=True)

    assert "deactivate this user instead" in r.content.decode()


def test_tasks_are_completed_by_an_action(house, staff):
    data = {"action": "complete", "_selected_action": [house.task.pk]}

    staff.post(address(Task, "list"), data)

    (event,) = house.events()
    assert (event.verb, event.via) == ("completed", "admin")


def test_new_token_is_shown_once_in_admin(house, staff):
    data = {"user": house.ada.user.pk, "name": "ci", "scope": "read", "expires_in_days": "30"}

    r = staff.post(address(ApiToken, "add"), data, follow=True)

    page = r.content.decode()
    text = page.split("not shown again: ")[1].split("<")[0].strip()
    assert text.startswith(f"tf_{house.root.tenant.pk}_")
    assert text not in staff.get(address(ApiToken, "list")).content.decode()


def test_password_is_set_by_the_action(house, staff):
    page = staff.get(address(User, "change", house.ada.user.pk))
    assert "scrypt" not in page.content.decode()

    r = staff.post(
        address(User, "change", house.ada.user.pk),
        form_of(page) | {"password": "new horse battery"},
    )

    assert r.status_code == 302, r.context["errors"]
    with inside(house.root.tenant):
        assert User.objects.get(pk=house.ada.user.pk).check_password("new horse battery")
        assert not ApiToken.objects.filter(user=house.ada.user, revoked_at=None).exists()


# ---- constant queries ---------------------------------------------------------------------------


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    "page",
    ["/admin/", *(address(m, "list") for m in MODELS), "/admin/tasks/project/{apollo}/change/",
     "/admin/tasks/task/{task}/history/"],
)  # fmt: skip
def test_more_rows_cost_no_more_queries(house, staff, page):
    url = page.format(apollo=house.apollo.pk, task=house.task.pk)

    def count():
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert staff.get(url).status_code == 200
        return len(queries)

    grow(house, 3)
    few = count()
    grow(house, 25)

    assert count() <= few


def grow(house, amount):
    with inside(house.root.tenant):
        start = Task.objects.count()
        for n in range(start, start + amount):
            user = person(house.root, f"user{n}")
            add_member(house.ada, house.apollo, user=user.user, role=Role.MEMBER)
            create_project(user, name=f"Project {n}")
            create_tag(house.ada, name=f"tag {n}")
            issue_token(user, user.user, "t", TokenScope.READ, None)
            create_task(user, house.apollo, title=f"Task {n}", assignee=user.user)
            assignee = house.ada.user if n % 2 else None
            update_task(house.ada, house.task, title=f"Launch {n}", assignee=assignee)


# ---- trash --------------------------------------------------------------------------------------


def run(staff, model, name, pk, query=""):
    data = {"action": name, "_selected_action": [pk]}
    return staff.post(address(model, "list") + query, data, follow=True)


def test_trash_of_list_can_be_shown_and_emptied(house, staff):
    run(staff, Task, "delete_selected", house.task.pk)
    staff.post(
        address(Task, "list"),
        {"action": "delete_selected", "_selected_action": [house.task.pk], "post": "yes"},
    )
    live, trash = staff.get(address(Task, "list")), staff.get(address(Task, "list") + "?trash=1")

    assert ("Launch" in live.content.decode(), "Launch" in trash.content.decode()) == (False, True)
    assert "restore_selected" not in live.content.decode()
    assert 'value="complete"' not in trash.content.decode()
    assert staff.get(address(Task, "change", house.task.pk)).status_code == 302
    assert (
        "Restored."
        in run(staff, Task, "restore_selected", house.task.pk, "?trash=1").content.decode()
    )
    assert staff.get(address(Task, "change", house.task.pk)).status_code == 200
    assert [e.verb for e in house.events(subject_type="task")] == ["deleted", "restored"]


@pytest.mark.parametrize("model", [Project, Task, Comment, Page])
def test_each_resource_can_be_deleted_permanently(house, staff, model):
    with inside(house.root.tenant):
        pk = model.objects.first().pk
    data = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
    staff.post(address(model, "list"), data)

    r = run(staff, model, "purge_selected", pk, "?trash=1")

    assert "Deleted permanently." in r.content.decode()
    with inside(house.root.tenant):
        assert not model.everything.exists()


def test_rows_of_deleted_project_are_not_shown(house, staff):
    data = {"action": "delete_selected", "_selected_action": [house.apollo.pk], "post": "yes"}
    staff.post(address(Project, "list"), data)

    for model in (Task, Comment, Page, ProjectMember):
        page = staff.get(address(model, "list")).content.decode()
        assert "Apollo" not in page
        assert "Launch" not in page


def test_pages_can_be_published_and_unpublished(house, staff):
    for name, shown in (("publish", True), ("unpublish", False)):
        run(staff, Page, name, house.page.pk)
        with inside(house.root.tenant):
            assert Page.objects.get().is_published is shown


def test_comment_can_be_changed_by_its_author_only(house, staff):
    with inside(house.root.tenant):
        hers = create_comment(house.ada, house.task, body="Hers")
        own = Comment.objects.exclude(pk=hers.pk).get()

    staff.post(address(Comment, "change", own.pk), {"body": "Mine, anew"})
    assert staff.post(address(Comment, "change", hers.pk), {"body": "x"}).status_code == 403

    with inside(house.root.tenant):
        assert set(Comment.objects.values_list("body", flat=True)) == {"Mine, anew", "Hers"}


def test_blockers_are_set_and_completing_is_refused_in_the_list(house, staff):
    with inside(house.root.tenant):
        other = create_task(house.ada, house.apollo, title="Fuel")
    form = form_of(staff.get(address(Task, "change", house.task.pk)))
    staff.post(address(Task, "change", house.task.pk), form | {"blockers": [other.pk]})

    refused = run(staff, Task, "complete", house.task.pk)
    assert "Complete them first" in refused.content.decode()
    run(staff, Task, "complete_anyway", house.task.pk)

    with inside(house.root.tenant):
        task = Task.objects.get(pk=house.task.pk)
        assert (task.completed, list(task.blocked_by.all())) == (True, [other])


# ---- people -------------------------------------------------------------------------------------


def test_offboarding_hands_everything_over(house, staff):
    path = address(User, "offboarding", house.ada.user.pk)
    assert "Offboard" in staff.get(address(User, "change", house.ada.user.pk)).content.decode()
    page = staff.get(path).content.decode()
    assert "Hand over to" in page
    assert "mallory" not in page
    refused = staff.post(path, {})
    assert "Some projects have no other owner" in refused.content.decode()

    r = staff.post(path, {"hand_over_to": house.root.user.pk, "erase": "on"}, follow=True)

    assert "1 projects" in r.content.decode()
    with inside(house.root.tenant):
        user = User.objects.get(pk=house.ada.user.pk)
        assert (user.is_active, user.handle) == (False, f"erased-{user.pk}")
        assert Project.objects.get().owner == house.root.user
    assert {e.via for e in house.events(verb="offboarded")} == {"admin"}


@pytest.mark.isolation
def test_user_of_another_tenant_cannot_be_offboarded(house, staff):
    assert staff.get(address(User, "offboarding", house.them.user.pk)).status_code == 404
    assert staff.post(address(User, "offboarding", house.them.user.pk), {}).status_code == 404


# ---- work ---------------------------------------------------------------------------------------


def test_task_can_be_moved_by_its_form(house, staff):
    with inside(house.root.tenant):
        other = create_project(house.ada, name="Other", key="OTH")
    form = form_of(staff.get(address(Task, "change", house.task.pk)))

    staff.post(address(Task, "change", house.task.pk), form | {"project": other.pk, "title": "New"})

    with inside(house.root.tenant):
        task = Task.objects.select_related("project").get(pk=house.task.pk)
        assert (task.key, task.title) == ("OTH-1", "New")


def test_tasks_are_found_by_words_and_key(house, staff):
    for q in ("launch", "lau", "apo-1"):
        assert "Launch" in staff.get(address(Task, "list") + f"?q={q}").content.decode()
    for q in ("unch", "SEC-1", "!!!"):
        page = staff.get(address(Task, "list") + f"?q={q}").content.decode()
        assert "Launch" not in page
        assert "Plot" not in page


def test_all_tasks_of_a_project_are_completed_and_downloaded(house, staff):
    csv_response = run(staff, Project, "download_tasks", house.apollo.pk)
    assert (csv_response.headers["Content-Type"], b"Launch" in csv_response.content) == (
        "text/csv",
        True,
    )

    assert (
        "Completed 1 tasks."
        in run(staff, Project, "complete_tasks", house.apollo.pk).content.decode()
    )


# ---- two who edit the same form -----------------------------------------------------------------


@pytest.fixture
def opened(house, staff):
    """The task's form, opened before others have given it a title and a tag."""
    form = form_of(staff.get(address(Task, "change", house.task.pk)))
    with inside(house.root.tenant):
        update_task(house.ada, house.task, title="Theirs", tags=["hot", "cold"], description="x")
    return form


def test_edits_of_different_fields_are_merged(house, staff, opened):
    r = staff.post(address(Task, "change", house.task.pk), opened | {"priority": "high"})

    assert r.status_code == 302, r.content
    with inside(house.root.tenant):
        task = Task.objects.get()
        assert (task.title, task.priority, task.description) == ("Theirs", "high", "x")
        assert task.tags.count() == 2
    assert house.events(subject_type="task")[-1].changes == {"priority": ["medium", "high"]}


def test_edits_of_same_field_are_shown_side_by_side(house, staff, opened):
    r = staff.post(
        address(Task, "change", house.task.pk), opened | {"title": "Mine", "priority": "high"}
    )

    page = r.content.decode()
    assert r.status_code == 412
    for text in ("Launch", "Theirs", "Mine", "Ada (@ada) changed it at", "Save my values"):
        assert text in page
    assert not house.events(subject_type="task")


def test_own_values_can_be_saved_after_conflict(house, staff, opened):
    form = opened | {"title": "Mine", "priority": "high"}
    conflict = staff.post(address(Task, "change", house.task.pk), form)
    kept = dict(conflict.context["fields"]) | {"labels": opened["labels"]}

    r = staff.post(address(Task, "change", house.task.pk), kept)

    assert r.status_code == 302, r.content
    with inside(house.root.tenant):
        task = Task.objects.get()
        assert (task.title, task.priority, task.tags.count()) == ("Mine", "high", 2)


def test_change_during_conflict_page_is_shown_again(house, staff, opened):
    form = opened | {"title": "Mine"}
    conflict = staff.post(address(Task, "change", house.task.pk), form)
    with inside(house.root.tenant):
        update_task(house.ada, house.task, title="Theirs again")

    r = staff.post(address(Task, "change", house.task.pk), dict(conflict.context["fields"]))

    assert (r.status_code, "Theirs again" in r.content.decode()) == (412, True)


def test_tags_are_named_in_a_conflict(house, staff, opened):
    r = staff.post(address(Task, "change", house.task.pk), opened | {"labels": []})

    (rivalry,) = r.context["conflicts"]
    assert (rivalry.field, rivalry.base, rivalry.theirs, rivalry.yours) == (
        "tags", "hot", "cold, hot", "–",
    ) or rivalry.theirs == "hot, cold"  # fmt: skip


def test_moving_and_assigning_together_is_no_conflict(house, staff):
    with inside(house.root.tenant):
        other = create_project(house.root, name="Other", key="OTH")
        update_task(house.ada, house.task, assignee=house.ada.user)
    form = form_of(staff.get(address(Task, "change", house.task.pk)))

    r = staff.post(
        address(Task, "change", house.task.pk),
        form | {"project": other.pk, "assignee": house.root.user.pk},
    )

    assert r.status_code == 302, r.content
    with inside(house.root.tenant):
        assert Task.objects.get().assignee_id == house.root.user.pk


def test_inline_row_is_not_overwritten(house, staff):
    path = address(Project, "change", house.apollo.pk)
    with inside(house.root.tenant):
        member = add_member(house.root, house.apollo, user=house.root.user)
    form = form_of(staff.get(path))
    (line,) = [
        n.removesuffix("-id") for n, v in form.items() if n.endswith("-id") and v == member.pk
    ]
    with inside(house.root.tenant):
        change_role(house.root, member, role=Role.ADMIN)

    untouched = staff.post(path, form | {"name": "New"})
    with inside(house.root.tenant):
        assert ProjectMember.objects.get(pk=member.pk).role == Role.ADMIN
    touched = staff.post(path, form | {f"{line}-role": Role.OWNER})

    assert (untouched.status_code, touched.status_code) == (302, 412)


def test_saving_form_with_text_does_not_change_line_breaks(house, staff):
    with inside(house.root.tenant):
        update_task(house.ada, house.task, description="two\nlines")
    form = form_of(staff.get(address(Task, "change", house.task.pk)))

    staff.post(address(Task, "change", house.task.pk), form | {"description": "two\r\nlines"})

    assert not house.events(subject_type="task")


# ---- undo ---------------------------------------------------------------------------------------

UNDO = "/admin/audit/event/undo/"


def test_history_has_undo_buttons(house, staff):
    with inside(house.root.tenant):
        update_task(dataclasses.replace(house.ada, request_id="r-1"), house.task, title="New")
        event = Event.objects.latest("pk")

    page = staff.get(address(Task, "history", house.task.pk)).content.decode()

    assert f'name="event_ids" value="{event.pk}"' in page
    assert 'name="request_id" value="r-1"' in page
    assert f'name="actor" value="{house.ada.user.pk}"' in page


def test_undoing_request_undoes_changes_of_its_actor_only(house, staff):
    """Root chose the same request id as Ada."""
    with inside(house.root.tenant):
        for actor, values in ((house.ada, {"title": "New"}), (house.root, {"priority": "high"})):
            update_task(dataclasses.replace(actor, request_id="r-1"), house.task, **values)
    body = {"request_id": "r-1", "actor": house.ada.user.pk, "confirmed": "1"}

    assert staff.post(UNDO, body).status_code == 302

    with inside(house.root.tenant):
        task = Task.objects.get()
        assert (task.title, task.priority) == ("Launch", "high")


def test_undo_shows_plan_before_it_changes_anything(house, staff):
    with inside(house.root.tenant):
        update_task(house.ada, house.task, title="New", tags=[])
        event = Event.objects.latest("pk").pk

    page = staff.post(UNDO, {"event_ids": event}).content.decode()

    assert "1 change would be undone" in page
    assert "title from New to Launch" in page
    with inside(house.root.tenant):
        assert Task.objects.get().title == "New"
    assert not house.events()


def test_confirmed_undo_is_done(house, staff):
    with inside(house.root.tenant):
        update_task(house.ada, house.task, title="New", tags=[])
        event = Event.objects.latest("pk").pk

    r = staff.post(UNDO, {"event_ids": event, "confirmed": "1"}, follow=True)

    assert "1 changes were undone" in r.content.decode()
    with inside(house.root.tenant):
        task = Task.objects.get()
        assert (task.title, task.tags.count()) == ("Launch", 1)
    (undone,) = house.events()
    assert (undone.undoes, undone.actor_id) == ({str(event): []}, house.root.user.pk)


def test_undo_of_all_changes_of_user_since_time(house, staff):
    with inside(house.root.tenant):
        create_task(house.ada, house.apollo, title="Junk")
        update_task(house.ada, house.task, title="New")
    body = {"actor": house.ada.user.pk, "since": "2020-01-01 00:00", "project": house.apollo.pk}

    refused = staff.post(UNDO, body)
    planned = staff.post(UNDO, body | {"skip": "on"})
    done = staff.post(UNDO, body | {"skip": "on", "confirmed": "1"})

    assert "Comment" in refused.content.decode()  # of another user, on the task that Ada created
    assert "Skipped" in planned.content.decode()
    assert done.status_code == 302
    with inside(house.root.tenant):
        assert list(Task.objects.values_list("title", flat=True)) == ["Launch"]


@pytest.mark.parametrize(
    "body", [{}, {"actor": "99"}, {"since": "2020-01-01 00:00"}, {"event_ids": "x"}]
)
def test_undo_without_selection_is_refused(house, staff, body):
    r = staff.post(UNDO, body)

    assert (r.status_code, "Show the plan" in r.content.decode()) == (200, True)


@pytest.mark.isolation
def test_event_of_another_tenant_cannot_be_undone(house, staff):
    with inside(house.them.tenant):
        event = Event.objects.latest("pk").pk

    r = staff.post(UNDO, {"event_ids": event, "confirmed": "1"})

    assert "There is no such event or request." in r.content.decode()


def test_undo_form_is_filled_from_event(house, staff):
    assert staff.get(UNDO).status_code == 200
    assert "Event 7" in staff.get(UNDO + "?event_ids=7").content.decode()


@pytest.mark.parametrize("ids", ["x", "1,x", ",", "²", "-1", "1 2", "9" * 30])
def test_undo_of_events_that_are_not_ids_is_refused(house, staff, ids):
    body = {"event_ids": ids, "actor": house.ada.user.pk, "since": "2020-01-01 00:00"}

    r = staff.post(UNDO, body | {"skip": "on", "confirmed": "1"})

    assert r.status_code == 200
    assert not house.events()


def test_undo_of_a_request_in_one_project_is_refused(house, staff):
    with inside(house.root.tenant):
        update_task(dataclasses.replace(house.root, request_id="r-1"), house.task, title="New")

    r = staff.post(UNDO, {"request_id": "r-1", "project": house.apollo.pk, "confirmed": "1"})

    assert "A project can only be combined with a user and a time." in r.content.decode()
    assert not house.events()


def test_undo_keeps_changes_made_after_the_plan(house, staff):
    with inside(house.root.tenant):
        junk = create_task(house.ada, house.apollo, title="Junk")
    since = f"{junk.created_at:%Y-%m-%dT%H:%M:%S.%f}"
    body = {"actor": house.ada.user.pk, "since": since, "skip": "on"}
    plan = staff.post(UNDO, body).context
    with inside(house.root.tenant):
        create_task(house.ada, house.apollo, title="Later")

    shown = {field.html_name: field.value() for field in plan["form"] if field.value()}
    done = staff.post(UNDO, shown | {"confirmed": "1"})

    assert done.status_code == 302
    with inside(house.root.tenant):
        titles = set(Task.objects.values_list("title", flat=True))
    assert titles == {"Launch", "Later"}


# ---- what an action changes ---------------------------------------------------------------------


QUERIES = [
    "", "?e=1", "?nonsense=1", "?nonsense=1&e=1", "?status__exact=", "?status__exact=none",
    "?status__exact=done", "?project__id__exact=", "?project__id__exact=999999", "?trash=",
    "?trash=2", "?trash=1", "?q=", "?q=%20", "?q=!!!", "?q=%C2%BD", "?q=-x", "?q=launch", "?p=99",
]  # fmt: skip


@pytest.mark.sampled(3)
@pytest.mark.parametrize("query", QUERIES)
def test_action_changes_no_row_that_the_list_did_not_show(house, staff, query):
    with inside(house.root.tenant):
        tasks = [create_task(house.ada, house.apollo, title=f"t{n}") for n in range(3)]
        delete_task(house.ada, tasks[0])
    page = staff.get(address(Task, "list") + query)
    shown = (
        {task.pk for task in page.context["cl"].result_list}
        if "cl" in (page.context or ())
        else set()
    )
    one = {"_selected_action": [house.task.pk]}

    for choice in ({}, {"select_across": "1"}, one, {"index": "0"}, one | {"select_across": "1"}):
        before = len(house.events())
        for action in ("complete", "purge_selected", "reopen"):
            staff.post(address(Task, "list") + query, {"action": action} | choice)
        changed = {event.subject_id for event in house.events()[before:]}
        few = {house.task.pk} if "select_across" not in choice else shown
        assert changed <= (shown & few if "_selected_action" in choice else set())
