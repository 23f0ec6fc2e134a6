"""No file and no option makes the server fail."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from conftest import PROOF, ApiClient, token_of
from tasks.csv.columns import TARGETS
from tasks.schemas.csv import DateOrder, ImportProfile, OnExisting, UnknownReference, Unmapped
from tasks.tests.csv_files import load

pytestmark = pytest.mark.one_database

HOW = settings(
    max_examples=1000 if PROOF else 120,
    deadline=None,
    derandomize=not PROOF,
    database=None,
    suppress_health_check=list(HealthCheck),
)
JIRA_HEADERS = ["Summary", "Issue key", "Parent", "Status", "Created", "Comment", "Labels"]
TODOIST_HEADERS = ["TYPE", "CONTENT", "INDENT", "PRIORITY", "DATE", "AUTHOR"]
ASANA_HEADERS = ["Task ID", "Name", "Parent task", "Blocked By (Dependencies)", "Completed At"]
headers = st.sampled_from(
    [*TARGETS, *JIRA_HEADERS, *TODOIST_HEADERS, *ASANA_HEADERS, "", "?", "Title", "a/b~c"]
)
CELLS = ["", " ", "x", "APO-1", "apo-1", "ZZ-1", "1", "0", "-1", "99999999999999999999", "@ada",
         "ada@acme.example", "Nobody", "todo", "Done", "high", "2026-12-01", "03/04/2026",
         "31/31/2026", "0001-01-01", "9999-12-31T23:59:59-23:59", "1/1/1", "2026-12-01 25:00",
         "2026-12-01T09:30:00Z", "01/Dec/26 9:30 AM;@ada;hi", ";;", "{}", "[]", '{"a": 1}', "NaN",
         "a;b", '"a;b";c', '"', "'=x", "task", "note", "section", "10", "²"]  # fmt: skip
character = st.characters(exclude_categories=["Cs"])
cells = st.sampled_from(CELLS) | st.text(character, max_size=8)
rows = st.lists(st.lists(cells, max_size=5), max_size=4)
options = st.fixed_dictionaries(
    {},
    optional={
        "on_existing": st.sampled_from(OnExisting),
        "date_order": st.sampled_from(DateOrder),
        "unmapped": st.sampled_from(Unmapped),
        "unknown": st.sampled_from(UnknownReference),
        "time_zone": st.sampled_from(["Europe/Berlin", "Pacific/Apia", "UTC", "x"]),
        "delimiter": st.sampled_from(["comma", "semicolon", "tab"]),
        "map": st.dictionaries(headers, st.sampled_from(TARGETS), max_size=2),
        "values": st.dictionaries(
            st.sampled_from([*TARGETS, "people"]),
            st.dictionaries(cells, st.none() | cells, max_size=2),
            max_size=2,
        ),
    },
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 2**70) | cells,
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(
        st.sampled_from(
            ["cards", "lists", "members", "checklists", "actions", "id", "name", "idList", "data",
             "checkItems", "idCard", "number", "title", "body", "user", "login", "labels", "url",
             "comments", "created_at", "due", "card", "text", "type", "state"]
        ),
        inner,
        max_size=4,
    ),
    max_leaves=12,
)  # fmt: skip


def quote(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"'


@pytest.mark.slow
def test_no_csv_file_makes_the_server_fail(fixtures):
    client = ApiClient(token_of(fixtures.boss))

    @given(st.lists(headers, min_size=1, max_size=5), rows, options, st.booleans())
    @HOW
    def check(names, lines, chosen, is_quoted):
        form = quote if is_quoted else str
        text = "\n".join(",".join(map(form, line)) for line in [names, *lines])

        r = load(client, text.encode() or b"\n", dry_run="true", **chosen)

        assert r.status_code in (200, 422), r.content

    check()


@pytest.mark.slow
@pytest.mark.parametrize("profile", ImportProfile)
def test_no_file_of_a_profile_makes_the_server_fail(fixtures, profile):
    client = ApiClient(token_of(fixtures.boss))
    is_json = profile in (ImportProfile.TRELLO, ImportProfile.GITHUB)
    files = (
        json_values.map(json.dumps)
        if is_json
        else st.tuples(st.lists(headers, min_size=1, max_size=6), rows).map(
            lambda table: "\n".join(",".join(map(quote, line)) for line in [table[0], *table[1]])
        )
    )
    kind = "application/json" if is_json else "text/csv"

    @given(files)
    @HOW
    def check(body):
        path = f"/projects/APO/imports?profile={profile}&dry_run=true&unknown=leave_out"
        r = client.generic("POST", path, body.encode(), content_type=kind)
        assert r.status_code in (200, 422), r.content

    check()
