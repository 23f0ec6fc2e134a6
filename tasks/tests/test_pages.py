"""Pages of projects. Drafts are visible only to their owner and managers."""

from __future__ import annotations

import pytest

from taskflow.tenancy import inside
from tasks.actions.pages import create_page, publish_page
from tasks.models import Page

pytestmark = pytest.mark.one_database


def write(client, fixtures, **body):
    return client.post("/pages", {"project_id": fixtures.apollo.pk, "title": "P"} | body)


@pytest.fixture
def draft(fixtures):
    with inside(fixtures.acme):
        return create_page(fixtures.bob, fixtures.apollo, title="Draft", body="b")


def test_creating_a_page_stores_and_records_it(fixtures, as_, events):
    r = write(as_(fixtures.bob), fixtures, body=" # x\n", is_published=True)

    page = dict(r.json())
    assert r.status_code == 201
    assert r.headers["Location"] == f"/api/v1/pages/{page['id']}"
    assert page.pop("owner")["email"] == "bob@acme.example"
    assert page.pop("published_at") is not None
    assert page.pop("created_at") <= page.pop("updated_at")
    assert page == {
        "id": page["id"],
        "project_id": fixtures.apollo.pk,
        "owner_id": fixtures.bob.user.pk,
        "title": "P",
        "body": " # x\n",
        "is_published": True,
        "version": 1,
    }
    (event,) = events(fixtures.acme, subject_type="page")
    assert (event.verb, event.project_id) == ("created", fixtures.apollo.pk)


@pytest.mark.parametrize(
    "body",
    [{"title": ""}, {"title": "x" * 256}, {"body": "x" * 65_537}, {"body": None}, {"author": 1}],
)
def test_invalid_fields_are_refused(fixtures, as_, body):
    assert write(as_(fixtures.bob), fixtures, **body).status_code == 422
    assert write(as_(fixtures.bob), fixtures, title="x" * 255, body="x" * 65_536).status_code == 201


def test_page_can_be_published_and_unpublished(fixtures, as_, events, draft):
    client, path = as_(fixtures.bob), f"/pages/{draft.pk}/publication"

    first, again = client.post(path).json(), client.post(path).json()

    assert (first["is_published"], first["published_at"] is None) == (True, False)
    assert again == first
    assert as_(fixtures.bot).get(f"/pages/{draft.pk}").status_code == 200
    back = client.delete(path).json()
    assert (back["is_published"], back["published_at"]) == (False, None)
    assert client.delete(path).json() == back
    verbs = [e.verb for e in events(fixtures.acme, subject_type="page")]
    assert verbs == ["created", "published", "unpublished"]


def test_drafts_are_visible_to_their_owner_and_managers(fixtures, as_, draft):
    seers = [
        actor
        for actor in (
            fixtures.ada,
            fixtures.carl,
            fixtures.bob,
            fixtures.bot,
            fixtures.eve,
            fixtures.boss,
        )
        if as_(actor).get("/pages").json()["data"]
    ]

    assert seers == [fixtures.ada, fixtures.carl, fixtures.bob, fixtures.boss]
    for path in (f"/pages/{draft.pk}", f"/pages/{draft.pk}/publication"):
        for actor in (fixtures.bot, fixtures.eve, fixtures.mallory):
            method = "post" if path.endswith("publication") else "get"
            assert getattr(as_(actor), method)(path).status_code == 404


def test_published_page_can_be_changed_by_owner_and_managers(fixtures, as_, draft):
    with inside(fixtures.acme):
        publish_page(fixtures.bob, draft)
    for actor, status in (
        (fixtures.bot, 403),
        (fixtures.bob, 200),
        (fixtures.carl, 200),
        (fixtures.boss, 200),
        (fixtures.eve, 404),
    ):
        client = as_(actor)
        assert client.patch(f"/pages/{draft.pk}", {"title": "x"}).status_code == status
        assert client.post(f"/pages/{draft.pk}/publication").status_code == status


def test_new_owner_must_be_a_member_of_the_project(fixtures, as_, draft):
    client = as_(fixtures.bob)

    for user, status in ((fixtures.eve, 422), (fixtures.mallory, 422), (fixtures.bot, 200)):
        r = client.patch(f"/pages/{draft.pk}", {"owner_id": user.user.pk})
        assert r.status_code == status
    assert client.get(f"/pages/{draft.pk}").status_code == 404, "it is another's draft now"


def test_deleted_draft_is_restored_as_a_draft(fixtures, as_, draft):
    client = as_(fixtures.bob)

    assert client.delete(f"/pages/{draft.pk}").status_code == 204
    assert client.get("/pages").json()["data"] == []
    (item,) = client.get("/trash").json()["data"]
    assert (item["kind"], item["title"], item["project_id"]) == (
        "page",
        "Draft",
        fixtures.apollo.pk,
    )
    assert as_(fixtures.bot).get("/trash").json()["data"] == [], (
        "nor is another's draft in the trash"
    )
    assert client.post(f"/trash/page/{draft.pk}/restoration").status_code == 200
    assert client.get(f"/pages/{draft.pk}").json()["is_published"] is False
    client.delete(f"/pages/{draft.pk}")
    assert as_(fixtures.carl).delete(f"/trash/page/{draft.pk}").status_code == 204
    with inside(fixtures.acme):
        assert not Page.everything.exists()


def test_pages_are_listed_and_filtered(fixtures, as_, draft):
    with inside(fixtures.acme):
        create_page(fixtures.ada, fixtures.apollo, title="A", is_published=True)
        create_page(fixtures.ada, fixtures.apollo, title="Z", is_published=True)
    client = as_(fixtures.bob)
    client.get("/me")

    def titles(query=""):
        r = client.get(f"/pages{query}")
        return [p["title"] for p in r.json()["data"]]

    assert titles() == ["Z", "A", "Draft"]
    assert titles("?sort=title") == ["A", "Draft", "Z"]
    assert titles("?is_published=true&sort=-title") == ["Z", "A"]
    assert titles("?is_published=false") == ["Draft"]
    assert titles("?owner=me&project=APO") == ["Draft"]
    assert titles("?owner_not=me&sort=published_at") == ["A", "Z"]
    assert client.get("/pages?project=SEC").status_code == 422
    assert client.get("/pages?sort=body").status_code == 422


def test_project_of_a_non_member_is_not_found(fixtures, as_, draft):
    for actor in (fixtures.eve, fixtures.mallory):
        assert as_(actor).delete(f"/pages/{draft.pk}").status_code == 404
        assert write(as_(actor), fixtures).status_code == 422
