from __future__ import annotations

import pytest

pytestmark = pytest.mark.one_database


@pytest.mark.parametrize("ref", ["{id}", "APO", "apo", "aPo"])
def test_project_is_found_by_id_or_key(fixtures, as_, ref):
    r = as_(fixtures.bob).get("/projects/" + ref.format(id=fixtures.apollo.pk))

    assert r.status_code == 200
    body = r.json()
    assert (body["id"], body["key"], body["name"]) == (fixtures.apollo.pk, "APO", "Apollo")
    assert (body["role"], body["owner"]["handle"]) == ("member", "ada")
    assert body["task_counts"] == {"todo": 1, "in_progress": 0, "done": 0, "cancelled": 0}
    assert body["created_at"].endswith("Z")
    assert r.headers["ETag"]


@pytest.mark.parametrize("ref", ["{id}", "SEC", "{id}9", "0", "-1", "9" * 19, "9" * 40, "NIX", "%00", "ß", "APO-1", "A" * 300])  # fmt: skip
def test_missing_row_and_row_of_another_tenant_are_not_found(fixtures, as_, ref):
    r = as_(fixtures.ada).get("/projects/" + ref.format(id=fixtures.secret.pk))

    assert (r.status_code, r.json()["code"]) == (404, "not_found")


def test_key_used_in_two_tenants_finds_the_own_project(fixtures, as_):
    theirs = as_(fixtures.mallory).post("/projects", {"name": "Apollo", "key": "APO"}).json()

    assert as_(fixtures.mallory).get("/projects/APO").json()["id"] == theirs["id"]
    assert as_(fixtures.ada).get("/projects/APO").json()["id"] == fixtures.apollo.pk
