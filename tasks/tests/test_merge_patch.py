"""PATCH with a merge patch (RFC 7396) changes single keys of metadata, of tasks and of projects."""

from __future__ import annotations

import json

import pytest

from conftest import ApiClient, build_fixtures, token_of
from taskflow.audit.merge_patch import MergePatch
from taskflow.tests.concurrency import call_during
from taskflow.tests.contract import api_document
from tasks.actions.projects import update_project
from tasks.changes.tasks import update_task

pytestmark = pytest.mark.one_database

MERGE_PATCH = "application/merge-patch+json"
PATHS = ["/tasks/APO-1", "/projects/APO"]


def merge(client, path, body, **kwargs):
    return client.patch(path, body, content_type=MERGE_PATCH, **kwargs)


# The table of RFC 7396, appendix A, below a key, since metadata itself is always an object.
@pytest.mark.parametrize(
    ("stored", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"a": ["a", "b"]}, {"a": ["c", "d"]}, {"a": ["c", "d"]}),
        ({"a": "foo"}, {"a": {"b": 1}}, {"a": {"b": 1}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({"a": [1, 2]}, {"a": {"a": "b", "c": None}}, {"a": {"a": "b"}}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({}, {"a": [{"b": None}]}, {"a": [{"b": None}]}),
        ({"a": 1}, {"a": True}, {"a": True}),
        ({"ä.": {"/~": 1}}, {"ä.": {"": 2}}, {"ä.": {"/~": 1, "": 2}}),
        ({"a": 1}, {}, {"a": 1}),
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_merge_patch_merges_metadata_by_key(fixtures, as_, path, stored, patch, result):
    client = as_(fixtures.ada)
    client.patch(path, {"metadata": stored})

    r = merge(client, path, {"metadata": patch})

    assert (r.status_code, r.json()["metadata"]) == (200, result)
    assert json.dumps(r.json()["metadata"], sort_keys=True) == json.dumps(result, sort_keys=True)


@pytest.mark.parametrize("path", PATHS)
def test_json_patch_and_put_replace_metadata(fixtures, as_, path):
    client = as_(fixtures.ada)
    for write in (client.patch, client.put):
        client.patch(path, {"metadata": {"a": 1}})

        assert write(path, {"metadata": {"b": None}}).json()["metadata"] == {"b": None}


def test_other_fields_of_a_merge_patch_mean_the_same_as_ever(fixtures, as_, events):
    client = as_(fixtures.ada)
    client.patch("/tasks/APO-1", {"metadata": {"a": 1}, "external_ref": "r"})

    body = {"metadata": {"b": 2}, "title": "New", "external_ref": None, "assignee": "@bob"}
    r = merge(client, "/tasks/APO-1", body)

    assert (r.json()["title"], r.json()["external_ref"]) == ("New", None)
    assert (r.json()["assignee"]["handle"], r.json()["tags"]) == ("bob", [])
    event = events(fixtures.acme, subject_type="task")[-1]
    assert event.changes["metadata"] == [{"a": 1}, {"a": 1, "b": 2}]


def test_merge_patch_that_changes_nothing_records_nothing(fixtures, as_, events):
    client = as_(fixtures.ada)
    client.patch("/tasks/APO-1", {"metadata": {"a": {"b": 1}}})
    count = len(events(fixtures.acme))

    r = merge(client, "/tasks/APO-1", {"metadata": {"a": {"b": 1, "c": None}, "d": None}})

    assert (r.json()["version"], len(events(fixtures.acme))) == (2, count)


# ---- limits and refusals ------------------------------------------------------------------------


@pytest.mark.parametrize("path", PATHS)
def test_result_of_a_merge_has_the_limits_of_metadata(fixtures, as_, path):
    client = as_(fixtures.ada)
    client.patch(path, {"metadata": {"a": "x" * 20_000}})

    r = merge(client, path, {"metadata": {"b": "x" * 20_000}})

    assert (r.status_code, r.json()["errors"][0]["pointer"]) == (422, "#/metadata")
    assert r.json()["errors"][0]["code"] == "too_large"
    assert "After the merge" in r.json()["detail"]
    assert client.get(path).json()["metadata"].keys() == {"a"}
    assert merge(client, path, {"metadata": {"a": None, "b": "x" * 20_000}}).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        ({"metadata": None}, 422, "#/metadata"),
        ({"metadata": [1]}, 422, "#/metadata"),
        ({"metadata": {"a": 2**63}}, 400, None),
        ({"metadata": json.loads("[" * 20 + "]" * 20)}, 400, None),
        ({"title": None}, 422, "#/title"),
        ({"titel": "x"}, 422, "#/titel"),
        ([], 400, None),
    ],
)
def test_invalid_merge_patch_is_refused(fixtures, as_, body, status, pointer):
    r = merge(as_(fixtures.ada), "/tasks/APO-1", body)

    assert r.status_code == status
    assert r.json().get("errors", [{}])[0].get("pointer") == pointer


def test_merge_patch_is_a_media_type_of_patch_alone(fixtures, as_):
    client = as_(fixtures.ada)
    for method, path in (
        ("put", "/tasks/APO-1"),
        ("post", "/tasks"),
        ("patch", "/users/me"),
        ("put", "/projects/APO/tasks/by-ref/x"),
    ):
        r = getattr(client, method)(path, {"title": "x"}, content_type=MERGE_PATCH)
        assert (r.status_code, r.json()["code"]) == (415, "unsupported_media_type")
    for media_type in ("application/json-patch+json", "text/plain", ""):
        r = client.patch("/tasks/APO-1", {"title": "x"}, content_type=media_type)
        assert r.status_code == 415
    assert client.get("/tasks/APO-1").json()["title"] == "Launch"


def test_options_names_the_media_types_of_patch(fixtures, as_):
    client = as_(fixtures.ada)
    both = f"application/json, {MERGE_PATCH}"

    types = {
        path: client.options(path).headers.get("Accept-Patch")
        for path in ("/tasks/APO-1", "/projects/APO", "/users/me", "/tasks")
    }

    assert types == {
        "/tasks/APO-1": both,
        "/projects/APO": both,
        "/users/me": "application/json",
        "/tasks": None,
    }


def test_document_has_the_merge_patch_of_patch_and_not_of_put():
    methods = api_document()["paths"]["/api/v1/tasks/{task_id}"]

    assert methods["patch"]["requestBody"]["content"].keys() == {"application/json", MERGE_PATCH}
    assert methods["put"]["requestBody"]["content"].keys() == {"application/json"}


# ---- retries, dry runs, plans, rights -----------------------------------------------------------


def test_merge_patch_with_an_idempotency_key_is_made_once(fixtures, as_):
    client = as_(fixtures.ada)
    body, key = {"metadata": {"a": 1}}, {"Idempotency-Key": "k"}

    first = merge(client, "/tasks/APO-1", body, headers=key)
    client.patch("/tasks/APO-1", {"metadata": {}})
    second = merge(client, "/tasks/APO-1", body, headers=key)
    other = client.patch("/tasks/APO-1", body, headers=key)

    assert second.json() == first.json()
    assert client.get("/tasks/APO-1").json()["metadata"] == {}
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize("path", PATHS)
def test_dry_run_and_plan_of_a_merge_patch_change_nothing(fixtures, as_, path):
    client = as_(fixtures.ada)
    client.patch(path, {"metadata": {"a": 1}})
    body = {"metadata": {"b": 2}}

    in_url = merge(client, f"{path}?dry_run=true", body)
    in_body = merge(client, path, body | {"dry_run": True})
    plan = client.post(
        "/plans",
        {
            "method": "PATCH",
            "path": f"/api/v1{path}",
            "body": body,
            "content_type": MERGE_PATCH,
        },
    ).json()
    replacing = client.plan("patch", path, body)

    for result in (in_url.json(), in_body.json(), plan["result"]):
        assert result["metadata"] == {"a": 1, "b": 2}
    assert plan["events"][0]["changes"] == {"metadata": [{"a": 1}, {"a": 1, "b": 2}]}
    assert replacing["result"]["metadata"] == {"b": 2}
    assert client.get(path).json()["metadata"] == {"a": 1}


def test_plan_of_a_csv_file_takes_no_content_type(fixtures, as_):
    body = {"method": "POST", "path": "/api/v1/projects/APO/tasks.csv", "body": "title\nx\n"}

    r = as_(fixtures.ada).post("/plans", body | {"content_type": MERGE_PATCH})

    assert (r.status_code, r.json()["code"]) == (422, "validation_failed")


@pytest.mark.parametrize("path", PATHS)
def test_merge_patch_needs_the_rights_of_a_change(fixtures, as_, path):
    for actor in (fixtures.eve, fixtures.mallory):
        assert merge(as_(actor), path, {"metadata": {"a": 1}}).status_code == 404


def test_merge_patch_can_be_undone(fixtures, as_):
    client = as_(fixtures.ada)
    client.patch("/tasks/APO-1", {"metadata": {"a": 1}})
    request_id = merge(client, "/tasks/APO-1", {"metadata": {"a": None, "b": 2}})["X-Request-Id"]

    client.post("/undo", {"request_id": request_id})

    assert client.get("/tasks/APO-1").json()["metadata"] == {"a": 1}


# ---- concurrent edits ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("theirs", "yours", "conflicts"),
    [
        ({"b": 2}, {"c": 1}, []),
        ({"a": {"x": 9, "y": 2}}, {"a": {"y": 3}}, []),
        ({"a": {"x": 1, "y": 2}, "b": {"n": 1}}, {"b": {"m": 1}}, []),
        ({"a": {"x": 9, "y": 2}}, {"a": {"x": 9}}, []),  # the same value
        ({"a": {"y": 2}}, {"a": {"x": None}}, []),  # both remove it
        ({"a": {"x": 9, "y": 2}}, {"a": {"x": 8}}, ["#/metadata/a/x"]),
        ({"a": {"x": 9, "y": 2}}, {"a": 1}, ["#/metadata/a"]),
        ({"a": 1}, {"a": {"x": 8}}, ["#/metadata/a"]),
        ({}, {"a": {"x": 8}}, ["#/metadata/a/x"]),
        ({"a": {"x": 9}}, {"a": {"x": 8, "y": None, "z": 1}}, ["#/metadata/a/x"]),
        ({"/~": True}, {"/~": 1}, ["#/metadata/~1~0"]),
    ],
)
@pytest.mark.parametrize("path", PATHS)
def test_if_match_compares_the_keys_of_a_merge_patch(fixtures, as_, path, theirs, yours, conflicts):
    mine = as_(fixtures.ada)
    read = mine.patch(path, {"metadata": {"a": {"x": 1, "y": 2}}})
    as_(fixtures.carl).patch(path, {"metadata": theirs})

    r = merge(mine, path, {"metadata": yours}, headers={"If-Match": read["ETag"]})

    assert [e["pointer"] for e in r.json().get("errors", [])] == conflicts
    assert r.status_code == (412 if conflicts else 200)


def test_conflict_of_a_merge_patch_has_the_values_of_the_key(fixtures, as_):
    mine = as_(fixtures.ada)
    read = mine.patch("/tasks/APO-1", {"metadata": {"a": {"x": 1}, "b": 1}})
    as_(fixtures.carl).patch("/tasks/APO-1", {"metadata": {"a": {"x": 2}, "b": 2}})
    patch = {"metadata": {"a": {"x": 3}}}

    merged = merge(mine, "/tasks/APO-1", patch, headers={"If-Match": read["ETag"]}).json()
    whole = mine.patch("/tasks/APO-1", patch, headers={"If-Match": read["ETag"]}).json()

    (error,) = merged["errors"]
    assert {n: error[n] for n in ("yours", "theirs", "base")} == {
        "yours": 3,
        "theirs": 2,
        "base": 1,
    }
    assert whole["errors"][0]["pointer"] == "#/metadata"


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", PATHS)
def test_concurrent_merge_patches_of_two_keys_both_last(path):
    live = build_fixtures()
    client = ApiClient(token_of(live.carl))

    def merge_a():
        patch = MergePatch("metadata", {"a": 1})
        if path.startswith("/tasks"):
            update_task(live.ada, live.task, metadata=patch)
        else:
            update_project(live.ada, live.apollo, metadata=patch)

    response = call_during(live.acme, merge_a, lambda: merge(client, path, {"metadata": {"b": 2}}))

    assert (response.status_code, response.json()["version"]) == (200, 3)
    assert response.json()["metadata"] == {"a": 1, "b": 2}
