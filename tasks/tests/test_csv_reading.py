"""How CSV files are read: charsets, delimiters, columns, and values as people write them."""

from __future__ import annotations

import pytest

from accounts.tests.factories import UserFactory
from taskflow.tenancy import inside
from tasks.models import Task
from tasks.tests.csv_files import created, errors, load
from tasks.tests.factories import MemberFactory

pytestmark = pytest.mark.one_database


@pytest.fixture
def bob(fixtures, as_):
    return as_(fixtures.bob)


# ---- charsets, delimiters and lines -------------------------------------------------------------


@pytest.mark.parametrize(
    ("codec", "charset"),
    [
        ("utf-8", None),
        ("utf-8-sig", None),
        ("utf-8", "utf-8"),
        ("utf-16", None),
        ("utf-16", "UTF-16"),
        ("utf-16-le", "utf-16le"),
        ("utf-16-be", "utf-16be"),
        ("cp1252", "windows-1252"),
        ("cp1252", "cp1252"),
    ],
)
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_file_of_a_spreadsheet_is_read(bob, codec, charset, delimiter, end):
    text = f'description{delimiter}title{end}"Ä{delimiter} „x“ €"{delimiter}b{end}{end}'
    kind = f"text/csv; charset={charset}" if charset else "text/csv"

    task = created(bob, text.encode(codec), content_type=kind)

    assert (task["description"], task["title"]) == (f"Ä{delimiter} „x“ €", "b")


def test_named_delimiter_overrules_the_first_line(bob):
    assert created(bob, "title;tags,x\na,b\n", delimiter="comma", ignore="x", map={
        "title;tags": "title"})["title"] == "a"  # fmt: skip


@pytest.mark.parametrize("charset", ["latin-1", "utf-7", "idna", "nosuch", '""'])
def test_other_charset_is_refused(bob, charset):
    r = load(bob, b"title\nx\n", content_type=f"text/csv; charset={charset}")

    assert (r.status_code, "windows-1252" in r.json()["detail"]) == (415, True)


def test_undeclared_charset_is_refused_and_the_header_is_named(bob):
    r = load(bob, "title\nÄ\n".encode("cp1252"))

    assert (r.status_code, "charset=windows-1252" in r.json()["detail"]) == (422, True)


def test_more_than_5000_rows_are_refused_with_the_bound(bob):
    r = load(bob, "title\n" + "x\n" * 5001)

    assert (r.status_code, r.json()["code"], "5000" in r.json()["detail"]) == (
        422,
        "too_many",
        True,
    )


# ---- columns ------------------------------------------------------------------------------------


def test_all_unknown_columns_are_named_at_once_with_the_nearest_name(bob):
    r = load(bob, "titel,title,asignee,Colour,due_on,due_on\nx,x,x,x,,\n")

    assert r.json()["code"] == "bad_rows"
    found = {e["column"]: e["detail"] for e in r.json()["errors"]}
    assert found.keys() == {"titel", "asignee", "Colour", "due_on"}
    assert "The nearest name is “title”" in found["titel"]
    assert "The nearest name is “assignee”" in found["asignee"]
    assert r.json()["errors"][0]["pointer"] == "#/rows/1/titel"


def test_columns_are_mapped_ignored_and_kept(bob):
    text = "Summary,Label,Label,Sprint,Sprint,Notes,\na,x,y,1,2,n,\n"

    task = created(bob, text, map={"Summary": "title", "label": "tags", "Sprint": "keep"},
                   ignore="notes")  # fmt: skip

    assert (task["title"], [tag["name"] for tag in task["tags"]]) == ("a", ["x", "y"])
    assert task["metadata"] == {"csv": {"Sprint": ["1", "2"]}}


@pytest.mark.parametrize(
    ("options", "parameter"),
    [
        ({"map": {"Summry": "title"}}, "map"),
        ({"map": {"Summary": "titel"}}, "map"),
        ({"map": "[1]"}, "map"),
        ({"map": "{"}, "map"),
        ({"values": {"status": "x"}}, "values"),
        ({"time_zone": "Mars"}, "time_zone"),
        ({"on_existing": "replace"}, "on_existing"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_option_that_cannot_be_used_is_refused(bob, options, parameter):
    r = load(bob, "Summary\nx\n", **options)

    assert (r.status_code, r.json()["errors"][0]["parameter"]) == (422, parameter), r.content


# ---- values -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cell", "status"),
    [("In Progress", "in_progress"), ("in-progress", "in_progress"), ("TO DO", "todo"),
     ("todo", "todo"), (" Done ", "done")],
)  # fmt: skip
def test_status_is_read_as_people_write_it(bob, cell, status):
    assert created(bob, f"title,status\nx,{cell}\n")["status"] == status


def test_other_words_need_a_map_of_values(bob):
    text = "title,priority,status\nx,Highest,Review\n"

    assert {(row, column) for row, column, _ in errors(bob, text)} == {
        (2, "status"),
        (2, "priority"),
    }
    details = [error["detail"] for error in load(bob, text).json()["errors"]]
    assert all(detail.endswith("Or write what it means in `values`.") for detail in details)
    task = created(
        bob, text, values={"priority": {"highest": "high"}, "status": {"*": "in_progress"}}
    )
    assert (task["priority"], task["status"]) == ("high", "in_progress")


@pytest.mark.parametrize(
    "name", ["ada", "@ada", "@Ada", "ADA@acme.example", "ada@acme.example", "Ada Lovelace"]
)
def test_person_is_named_by_handle_email_or_full_name(fixtures, bob, as_, name):
    as_(fixtures.boss).patch(f"/users/{fixtures.ada.user.pk}", {"full_name": "Ada Lovelace"})

    assert created(bob, f"title,assignee\nx,{name}\n")["assignee"]["handle"] == "ada"


def test_name_of_several_people_is_refused_with_their_handles(fixtures, bob):
    with inside(fixtures.acme):
        for handle in ("sam", "sammy"):
            user = UserFactory(actor=fixtures.boss, handle=handle, full_name="Sam Smith")
            MemberFactory(actor=fixtures.ada, project=fixtures.apollo, user=user)

    r = load(bob, "title,assignee\nx,Sam Smith\ny,Nobody\n")

    (first, second) = r.json()["errors"]
    assert (first["code"], "@sam, @sammy" in first["detail"]) == ("ambiguous", True)
    assert second["code"] == "unknown_reference"
    r = load(bob, "title,assignee\nx,Sam Smith\ny,Nobody\n", unknown="leave_out")
    assert (r.json()["created"], r.json()["left_out_count"]) == (2, 2)
    assert [cell["value"] for cell in r.json()["left_out"]] == ["Sam Smith", "Nobody"]
    values = {"people": {"Sam Smith": "@sam", "nobody": None}}
    assert load(bob, "title,assignee\nx,Sam Smith\ny,Nobody\n", values=values).status_code == 200


def test_token_bound_to_projects_finds_no_other_people(fixtures, as_):
    bound = as_(fixtures.ada, project_ids=[fixtures.apollo.pk])

    r = load(bound, "title,assignee\nx,eve@acme.example\n")

    assert [e["code"] for e in r.json()["errors"]] == ["unknown_reference"]


@pytest.mark.parametrize(
    ("cell", "order", "day"),
    [
        ("2026-12-01", None, "2026-12-01"),
        ("03/04/2026", "dmy", "2026-04-03"),
        ("03/04/2026", "mdy", "2026-03-04"),
        ("2026/04/03", "ymd", "2026-04-03"),
        ("3.4.26", "dmy", "2026-04-03"),
        ("01/Dec/26", "dmy", "2026-12-01"),
        ("1 December 2026", None, "2026-12-01"),
        ("Dec 1, 2026", None, "2026-12-01"),
        ("01/Dec/26 12:00 AM", "dmy", "2026-12-01"),
    ],
)
def test_day_is_read_in_the_named_order(bob, cell, order, day):
    options = {"date_order": order} if order else {}

    assert created(bob, f'title,due_on\nx,"{cell}"\n', **options)["due_on"] == day


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("03/04/2026", "ambiguous_date"),
        ("31/12/2026", "ambiguous_date"),
        ("01/Dec/26", "ambiguous_date"),
        ("2026-02-30", "invalid"),
        ("tomorrow", None),  # the schema refuses it, as in a body
        ("2026-12-01 09:30", "invalid"),
        ("1969-12-31", None),
    ],
)
def test_day_that_is_ambiguous_or_none_is_refused(bob, cell, code):
    ((row, column, found),) = errors(bob, f"title,due_on\nx,{cell}\n")

    assert (row, column, found if code else None) == (2, "due_on", code)


def test_time_without_offset_is_in_the_named_zone_or_that_of_the_tenant(fixtures, bob, as_):
    text = 'title,due_date\nx,"2026-12-01 9:30 PM"\n'
    assert created(bob, text)["due_date"] == "2026-12-01T21:30:00Z"
    assert created(bob, text, time_zone="Europe/Berlin")["due_date"].startswith("2026-12-01T20:30")
    as_(fixtures.boss).patch("/tenant", {"time_zone": "Asia/Tokyo"})
    assert created(bob, text)["due_date"].startswith("2026-12-01T12:30")
    text = "title,due_date\nx,2026-12-01T09:30:00+02:00\n"
    assert created(bob, text)["due_date"].startswith("2026-12-01T07:30")
    assert errors(bob, "title,due_date\nx,2026-12-01\n") == [(2, "due_date", "invalid")]


@pytest.mark.parametrize(
    ("cell", "sentence"),
    [
        (
            "2026-03-29 02:30",
            "Europe/Berlin has no 2026-03-29 02:30: the clock is set forward over it. Correct the"
            " time, or write it with an offset.",
        ),
        (
            "2026-10-25 2:30 AM",
            "Europe/Berlin has 2026-10-25 02:30 twice: the clock is set back. Write the time with an"
            " offset, as in 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00.",
        ),
    ],
)
def test_time_that_the_zone_has_not_or_twice_is_refused(bob, cell, sentence):
    r = load(bob, f"title,due_date\nx,{cell}\n", time_zone="Europe/Berlin")

    (error,) = r.json()["errors"]
    assert (r.status_code, error["row"], error["column"]) == (422, 2, "due_date")
    assert error["detail"] == sentence


def test_times_around_a_change_of_the_clock_are_read(bob):
    for cell, time in {
        "2026-03-29 01:59": "2026-03-29T00:59", "2026-03-29 03:00": "2026-03-29T01:00",
        "2026-10-25 01:59": "2026-10-24T23:59", "2026-10-25 03:00": "2026-10-25T02:00",
        "2026-10-25T02:30+02:00": "2026-10-25T00:30", "2026-10-25T02:30+01:00": "2026-10-25T01:30",
    }.items():  # fmt: skip
        task = created(bob, f"title,due_date\nx,{cell}\n", time_zone="Europe/Berlin")
        assert task["due_date"].startswith(time), cell


# ---- references between rows --------------------------------------------------------------------


def test_rows_refer_to_each_other_in_any_order(bob):
    text = "ref,title,parent,blocked_by,blocks\nc,child,p,\np,parent,,b\nb,blocker,,,c\n"

    r = load(bob, text, map={"ref": "ref", "blocks": "blocks"})

    assert r.status_code == 200, r.content
    tasks = {t["title"]: t for t in (bob.get(f"/tasks/{k}").json() for k in r.json()["keys"])}
    assert tasks["child"]["parent_id"] == tasks["parent"]["id"]
    assert tasks["parent"]["blocked_by"] == [tasks["blocker"]["id"]]
    assert tasks["child"]["blocked_by"] == [tasks["blocker"]["id"]]


def test_circles_and_unknown_references_are_refused_together(bob):
    text = (
        "ref,title,parent,blocked_by\n"
        "a,a,b,\nb,b,a,\n"
        "c,c,,d\nd,d,,c\n"
        "e,e,e,\nf,f,,f\n"
        "g,g,nosuch,SEC-1\n"
        "h,h,,\nh,h,h,\n"
    )

    found = errors(bob, text, map={"ref": "ref"})

    rows = {row: (column, code) for row, column, code in found}
    assert rows[10] == ("parent", "ambiguous")
    assert {row for row, _, code in found if code == "cycle"} == {2, 3, 4, 5, 6, 7}
    assert [(c, code) for row, c, code in found if row == 8] == [
        ("parent", "unknown_reference"),
        ("blocked_by", "unknown_reference"),
    ]


def test_problems_of_later_stages_are_listed_with_those_of_the_cells(fixtures, bob):
    text = (
        "ref,title,status,assignee,due_on,due_date,parent,external_ref\n"
        "a,a,nosuch,,,,,\n"
        "b,b,,@eve,,,a,\n"
        "c,c,,,2026-12-01,2026-12-01T00:00:00Z,,r\n"
        "d,d,,,,,,r\n"
    )

    found = errors(bob, text, map={"ref": "ref"})

    assert [(row, column) for row, column, _ in found] == [
        (2, "status"),
        (3, "assignee"),
        (4, "due_on"),
        (5, "external_ref"),
    ]
    with inside(fixtures.acme):
        assert Task.objects.count() == 1
