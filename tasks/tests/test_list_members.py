from __future__ import annotations


def test_members_are_listed_in_the_order_of_joining(fixtures, as_):
    page = as_(fixtures.bob).get("/projects/apo/members").json()

    assert [(m["user"]["handle"], m["role"]) for m in page["data"]] == [
        ("ada", "owner"),
        ("carl", "admin"),
        ("bob", "member"),
        ("bot", "member"),
    ]
    assert page["data"][0].keys() == {
        "id",
        "project_id",
        "user",
        "user_id",
        "role",
        "version",
        "joined_at",
        "updated_at",
    }


def test_members_are_listed_in_pages(fixtures, as_):
    client = as_(fixtures.bob)

    first = client.get("/projects/APO/members?limit=3&include=count").json()
    rest = client.get(f"/projects/APO/members?limit=3&cursor={first['next_cursor']}").json()

    assert (first["count"], first["has_more"], rest["has_more"]) == (4, True, False)
    assert [m["user"]["handle"] for m in rest["data"]] == ["bot"]


def test_project_of_a_non_member_is_not_found(fixtures, as_):
    for actor in (fixtures.eve, fixtures.mallory):
        assert as_(actor).get(f"/projects/{fixtures.apollo.pk}/members").status_code == 404
