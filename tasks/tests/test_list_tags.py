from __future__ import annotations

from taskflow.tenancy import inside
from tasks.actions.tags import create_tag


def test_tags_of_the_tenant_are_listed_by_name(fixtures, as_):
    with inside(fixtures.acme):
        for name in ("gamma", "alpha", "beta"):
            create_tag(fixtures.ada, name=name)
    with inside(fixtures.globex):
        create_tag(fixtures.mallory, name="theirs")
    client = as_(fixtures.eve)

    first = client.get("/tags?limit=2").json()
    rest = client.get(f"/tags?limit=2&cursor={first['next_cursor']}").json()

    assert [t["name"] for t in first["data"] + rest["data"]] == ["alpha", "beta", "gamma"]
    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)


def test_unknown_filter_is_refused(fixtures, as_):
    r = as_(fixtures.eve).get("/tags?name=alpha")

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, "name")
