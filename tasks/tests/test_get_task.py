from __future__ import annotations

import pytest

pytestmark = pytest.mark.one_database


@pytest.mark.parametrize("ref", ["{id}", "APO-1", "apo-1", "Apo-1"])
@pytest.mark.parametrize("method", ["get", "patch", "post", "reopen", "delete"])
def test_key_is_accepted_in_place_of_the_id(fixtures, as_, ref, method):
    path = "/tasks/" + ref.format(id=fixtures.task.pk)
    client = as_(fixtures.bob)

    r = {
        "get": lambda: client.get(path),
        "patch": lambda: client.patch(path, {"title": "y"}),
        "post": lambda: client.post(f"{path}/completion"),
        "reopen": lambda: client.delete(f"{path}/completion"),
        "delete": lambda: client.delete(path),
    }[method]()

    assert r.status_code == (204 if method == "delete" else 200)


@pytest.mark.parametrize("ref", ["{id}", "SEC-1", "APO-2", "APO-0", "APO-01", "APO-", "APO", "-1", "0", "9" * 19, "9" * 40, "APO-" + "9" * 30, "1 ", "%00", "١"])  # fmt: skip
def test_missing_row_and_row_of_another_tenant_are_not_found(fixtures, as_, ref):
    r = as_(fixtures.ada).get("/tasks/" + ref.format(id=fixtures.secret_task.pk))

    assert (r.status_code, r.json()["code"]) == (404, "not_found")


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    for ref in (fixtures.task.pk, "APO-1"):
        assert as_(fixtures.eve).get(f"/tasks/{ref}").status_code == 404


def test_key_used_in_two_tenants_finds_the_own_task(fixtures, as_):
    mallory = as_(fixtures.mallory)
    project = mallory.post("/projects", {"name": "Apollo", "key": "APO"}).json()
    theirs = mallory.post("/tasks", {"project_id": project["id"], "title": "theirs"}).json()

    assert theirs["key"] == "APO-1"
    assert mallory.get("/tasks/APO-1").json()["title"] == "theirs"
    assert as_(fixtures.ada).get("/tasks/APO-1").json()["title"] == "Launch"
