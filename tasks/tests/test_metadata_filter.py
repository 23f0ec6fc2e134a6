"""The filters `metadata` and `metadata_not`: values under keys of the metadata."""

from __future__ import annotations

import json
from urllib.parse import quote

import pytest

from taskflow.db.query import MAX_VARIANTS
from taskflow.http.json_filters import MAX_CONDITIONS, MAX_KEYS, MAX_VALUES
from taskflow.tenancy import inside
from taskflow.tests.contract import api_document
from tasks.api.responses import LIST_QUERIES
from tasks.changes.create import CreateTask, create_tasks
from tasks.models import Task

NESTED = {"a": {"b": {"c": 1}}}
STORED = {
    "number": {"sprint": 12},
    "float": {"sprint": 12.0},
    "fraction": {"sprint": 0.1},
    "text": {"sprint": "12"},
    "other": {"sprint": 13},
    "true": {"sprint": True},
    "one": {"sprint": 1},
    "text true": {"sprint": "true"},
    "null": {"sprint": None},
    "text null": {"sprint": "null"},
    "empty": {"sprint": ""},
    "list": {"sprint": [12, "12"]},
    "object": {"sprint": {"12": 12}},
    "absent": {},
    "large": {"sprint": 2**63 - 1},
    "nested": NESTED,
    "dotted": {"a.b": 1, "a": {"b": 2}},
    "quoted": {'it\'s "quoted" [0] \\ /~': 1},
    "unicode": {"Größe 🚀": "İ½"},
    "blank": {"": {"": 1}},
    "spaces": {"sprint": " 12 "},
    "positions": {"list": ["a", {"0": "b"}]},
}
SCALARS = [n for n, m in STORED.items() if "sprint" in m and n not in ("list", "object")]


@pytest.fixture
def client(fixtures, as_):
    """A client of a member of a project whose tasks have the names and the metadata of STORED."""
    with inside(fixtures.acme):
        new = [
            CreateTask(fixtures.apollo, name, {"metadata": metadata})
            for name, metadata in STORED.items()
        ]
        create_tasks(fixtures.ada, new)
    return as_(fixtures.ada)


def listed(client, query):
    r = client.get(f"/tasks?limit=200&{query}")
    assert r.status_code == 200, r.content
    return {task["title"] for task in r.json()["data"]} - {"Launch"}


def selected(client, **where):
    """The titles of the tasks that a bulk request with this `where` changes."""
    operation = {
        "op": "update",
        "where": {"project": ["APO"], **where},
        "data": {"priority": "low"},
    }
    r = client.post("/tasks/bulk?dry_run=true", {"operations": [operation]})
    assert r.status_code == 200, r.content
    return {result["task"]["title"] for result in r.json()["results"]} - {"Launch"}


def where_of(path, value):
    for key in reversed(path):
        value = {key: value}
    return value


# ---- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (12, {"number", "float"}),
        (12.0, {"number", "float"}),
        ("12", {"text"}),
        (0.1, {"fraction"}),
        (True, {"true"}),
        (1, {"one"}),
        ("true", {"text true"}),
        (None, {"null"}),
        ("null", {"text null"}),
        ("", {"empty"}),
        (" 12 ", {"spaces"}),
        (2**63 - 1, {"large"}),
        (2**63 - 2, set()),
        (False, set()),
        ([12, "12", None], {"number", "float", "text", "null"}),
        ({"12": 12}, {"object"}),
    ],
)
def test_where_compares_values_exactly(client, value, names):
    assert selected(client, metadata={"sprint": value}) == names
    assert selected(client, metadata_not={"sprint": value}) == STORED.keys() - names


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("12", {"number", "float", "text"}),
        ("12.0", {"number", "float"}),
        ("1.2e1", {"number", "float"}),
        ("012", set()),
        ("true", {"true", "text true"}),
        ("1", {"one"}),
        ("null", {"null", "text null"}),
        ("", {"empty"}),
        ("%2012%20", {"spaces"}),
        (str(2**63 - 1), {"large"}),
        (str(2**64), set()),
        ("1e999", set()),
        ("9" * 5000, set()),
        ("NaN", set()),
        ("0.1", {"fraction"}),
        ("[12]", set()),
        ("-x", set()),
        ("13&metadata.sprint=1", {"other", "one"}),
    ],
)
@pytest.mark.parametrize("name", ["metadata.sprint", "metadata[sprint]"])
def test_text_in_a_url_means_the_text_and_what_it_is_written_like(client, name, text, names):
    excluding = name.replace("metadata", "metadata_not")

    assert listed(client, f"{name}={text}") == names
    excluded = text.replace("metadata", "metadata_not")
    assert listed(client, f"{excluding}={excluded}") == STORED.keys() - names


# ---- keys ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "value", "names"),
    [
        (("a", "b", "c"), 1, {"nested"}),
        (("a", "b"), 2, {"dotted"}),
        (("a.b",), 1, {"dotted"}),
        (("Größe 🚀",), "İ½", {"unicode"}),
        (("Grosse 🚀",), "İ½", set()),
        (("", ""), 1, {"blank"}),
        (("SPRINT",), 12, set()),
        (("sprint", "12"), 12, {"object"}),
        (("sprint", "0"), 12, set()),  # no position in a list
        (("list", "0"), "a", set()),
        (("list", "1", "0"), "b", set()),
        (("sprint", "x"), 12, set()),
        (("a", "b", "c", "d"), 1, set()),
        (("$",), 1, set()),
        (("sprint') OR 1=1 --",), 1, set()),
        (("%s",), 1, set()),
    ],
)
def test_keys_are_literal_names_in_objects(client, path, value, names):
    assert selected(client, metadata=where_of(path, value)) == names
    assert selected(client, metadata_not=where_of(path, value)) == STORED.keys() - names
    bracketed = quote("metadata" + "".join(f"[{key}]" for key in path))
    assert listed(client, f"{bracketed}={value}") == names
    if not any("." in key for key in path):
        assert listed(client, f"{quote('.'.join(['metadata', *path]))}={value}") == names


def test_key_with_brackets_and_quotes_can_be_named(client):
    (key,) = STORED["quoted"]

    assert selected(client, metadata={key: 1}) == {"quoted"}
    assert listed(client, f"{quote(f'metadata.{key}')}=1") == {"quoted"}


def test_all_conditions_must_hold_and_none_of_the_excluded_ones(client):
    both = {"a": {"b": 2}, "a.b": 1}

    assert selected(client, metadata=both) == {"dotted"}
    assert selected(client, metadata=both | {"x": 1}) == set()
    assert listed(client, "metadata.a.b=2&metadata[a.b]=1") == {"dotted"}
    assert listed(client, "metadata.a.b=2&metadata_not[a.b]=1") == set()
    excluded = selected(client, metadata_not={"sprint": 12, "a": {"b": 2}})
    assert excluded == STORED.keys() - {"number", "float", "dotted"}


def test_projects_are_filtered_by_metadata(fixtures, as_):
    client = as_(fixtures.boss)
    client.patch("/projects/APO", {"metadata": {"customer": "İ", "tier": 1}})
    client.post("/projects", {"name": "Zeus", "key": "ZEU", "metadata": {"customer": "I"}})

    def keys(query):
        return {project["key"] for project in client.get(f"/projects?{query}").json()["data"]}

    assert keys("metadata.customer=İ&metadata[tier]=1") == {"APO"}
    assert keys("metadata_not.customer=İ") == {"ZEU"}


def test_csv_has_the_filter_too(client):
    r = client.get("/projects/APO/tasks.csv?metadata.sprint=13")

    assert [line.split(",")[1] for line in r.content.decode().splitlines()[1:]] == ["other"]


def test_pages_and_count_have_the_filter(client):
    first = client.get("/tasks?metadata.sprint=12&limit=2&include=count").json()
    cursor = f"&limit=2&cursor={first['next_cursor']}"
    second = client.get(f"/tasks?metadata.sprint=12{cursor}").json()
    other = client.get(f"/tasks?metadata.sprint=13{cursor}")

    assert first["count"] == 3
    titles = [task["title"] for task in first["data"] + second["data"]]
    assert sorted(titles) == ["float", "number", "text"]
    assert (other.status_code, other.json()["code"]) == (400, "invalid_cursor")


def test_other_tenants_and_projects_stay_hidden(fixtures, as_, client):
    for actor in (fixtures.eve, fixtures.mallory):
        assert listed(as_(actor), "metadata.sprint=12") == set()


# ---- refusals and bounds ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query",
    [
        "metadata=12",
        "metadata=",
        "metadata_not={}",
        "metadata.a=" + "&metadata.a=".join(map(str, range(MAX_VALUES + 1))),
        "&".join(f"metadata.k{n}=x" for n in range(MAX_CONDITIONS + 1)),
        "metadata." + ".".join("k" * (MAX_KEYS + 1)) + "=x",
    ],
)
@pytest.mark.parametrize("path", ["/tasks", "/projects", "/projects/APO/tasks.csv"])
def test_filter_that_is_wrong_or_too_large_is_refused(fixtures, as_, path, query):
    r = as_(fixtures.ada).get(f"{path}?{query}")

    assert r.status_code == 422
    assert r.json()["errors"][0]["parameter"] in ("metadata", "metadata_not")


@pytest.mark.parametrize(
    "value",
    [None, {}, [], "x", 1, {"a": {}}, {"a": []}, {"a": [[1]]}, {"a": [{"b": 1}]}, {"a": {"b": {}}}],
)
@pytest.mark.parametrize("name", ["metadata", "metadata_not"])
def test_where_without_a_value_is_refused(fixtures, as_, name, value):
    operation = {"op": "delete", "where": {"project": ["APO"], name: value}}

    r = as_(fixtures.ada).post("/tasks/bulk", {"operations": [operation]})

    assert r.status_code == 422
    assert r.json()["errors"][0]["pointer"] == f"#/operations/0/where/{name}"


@pytest.mark.parametrize("path", ["/tags", "/users", "/comments?task=APO-1", "/search?q=x", "/me"])
def test_lists_without_metadata_refuse_the_filter(fixtures, as_, path):
    sign = "&" if "?" in path else "?"

    r = as_(fixtures.ada).get(f"{path}{sign}metadata.a=1")

    assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "unknown_parameter")


def test_misspelled_filter_is_refused_with_the_right_name(fixtures, as_):
    r = as_(fixtures.ada).get("/tasks?metdata.sprint=1")

    assert (r.status_code, r.json()["errors"][0]["code"]) == (422, "unknown_parameter")


def test_names_of_keys_compile_no_further_queries(fixtures, as_):
    client = as_(fixtures.ada)
    queries = LIST_QUERIES[Task].page_queries.queries
    client.get("/tasks?metadata.k=x")
    before = queries.cache_info().currsize

    for n in range(20):
        client.get(f"/tasks?metadata.k{n}={n}&metadata.k{n}=x")

    assert queries.cache_info().currsize == before
    assert queries.cache_info().maxsize == MAX_VARIANTS


def test_document_describes_the_parameter_as_a_deep_object():
    for path in ("/api/v1/tasks", "/api/v1/projects"):
        parameters = {p["name"]: p for p in api_document()["paths"][path]["get"]["parameters"]}
        for name in ("metadata", "metadata_not"):
            assert (parameters[name]["style"], parameters[name]["explode"]) == ("deepObject", True)
            assert parameters[name]["schema"]["type"] == "object"


@pytest.mark.parametrize("name", SCALARS)
def test_stored_value_is_found_by_its_own_text(client, name):
    value = STORED[name]["sprint"]
    text = value if isinstance(value, str) else json.dumps(value)

    assert name in listed(client, f"metadata.sprint={quote(text)}")
