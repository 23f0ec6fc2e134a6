from __future__ import annotations

from taskflow.tenancy import inside
from tasks.actions.tags import create_tag


def test_tags_of_the_tenant_are_listed_by_name(world, as_):
    with inside(world.acme):
        for name in ("gamma", "alpha", "beta"):
            create_tag(world.ada, name=name)
    with inside(world.globex):
        create_tag(world.mallory, name="theirs")
    client = as_(world.eve)

    first = client.get("/tags?limit=2").json()
    rest = client.get(f"/tags?limit=2&cursor={first['next_cursor']}").json()

    assert [t["name"] for t in first["data"] + rest["data"]] == ["alpha", "beta", "gamma"]
    assert (first["has_more"], rest["has_more"], rest["next_cursor"]) == (True, False, None)


def test_unknown_filter_is_refused(world, as_):
    r = as_(world.eve).get("/tags?name=alpha")

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, "name")
