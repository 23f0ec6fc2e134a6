"""Texts of people as HTML: what is rendered, what is linked, and what never gets into a page."""

from __future__ import annotations

import time
from html.parser import HTMLParser

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import new_tenant, person
from taskflow.tenancy import inside
from tasks.admin import markdown
from tasks.admin.markdown import (
    References,
    Target,
    find_references,
    is_safe_address,
    render_markdown,
    render_texts,
)
from tasks.changes.tasks import complete_task, move_task
from tasks.tests.factories import ProjectFactory, TaskFactory

pytestmark = pytest.mark.one_database

WEB_1 = Target("/admin/tasks/task/1/change/", 'A "title" <b>', "task-key")
BOB = Target("/admin/tasks/task/?where=assignee%3D%2540bob", "Bob", "mention")
REFERENCES = References({"WEB-1": WEB_1}, {"bob": BOB})


class Tags(HTMLParser):
    """Collects the tags and the attributes of HTML as a browser reads them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def links_of(text: str, references: References = REFERENCES) -> list[str | None]:
    return [a["href"] for tag, a in Tags(render_markdown(text, references)).found if tag == "a"]


# ---- what is rendered ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("**bold** and _em_", "<p><strong>bold</strong> and <em>em</em></p>"),
        ("~~gone~~", "<p><s>gone</s></p>"),
        ("- a\n- b", "<ul>\n<li>a</li>\n<li>b</li>\n</ul>"),
        ("| a |\n|---|\n| b |", "<td>b</td>"),
        ("```\n<x>\n```", "<pre><code>&lt;x&gt;\n</code></pre>"),
        ("<b>raw</b>", "<p>&lt;b&gt;raw&lt;/b&gt;</p>"),
        ("", ""),
    ],
)
def test_markdown_is_rendered_as_html(text, html):
    assert html in render_markdown(text)


def test_links_do_not_pass_on_reputation_or_the_window():
    (link,) = Tags(render_markdown("[x](https://a.example/)")).found[1:]

    assert link == ("a", {"href": "https://a.example/", "rel": "nofollow noopener"})


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("see https://a.example/b?c=d.", ["https://a.example/b?c=d"]),
        ("<https://a.example>", ["https://a.example"]),
        ("[mail](mailto:a@b.example)", ["mailto:a@b.example"]),
        ("![cat](https://img.example/cat.png)", ["https://img.example/cat.png"]),
        ("[![cat](https://img.example/)](https://a.example)", ["https://a.example"]),
        ("`https://a.example`", []),
        ("[x](javascript:alert(1))", []),
        ("[x](JaVaScRiPt:alert(1))", []),
        ("[x](data:text/html,x)", []),
        ("![x](data:image/png;base64,x)", []),
        ("[x](//evil.example)", []),
        ("[x](/admin/logout/)", []),
        ("<javascript:alert(1)>", []),
        ("https://[::1", []),
    ],
)
def test_only_addresses_of_the_web_and_of_mail_become_links(text, addresses):
    assert links_of(text) == addresses


def test_text_loads_nothing_from_another_site():
    tags = [tag for tag, _ in Tags(render_markdown("![a](https://img.example/x.png)")).found]

    assert tags == ["p", "a"]


# ---- keys and mentions --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ("WEB-1", [WEB_1.address]),
        ("(WEB-1), done", [WEB_1.address]),
        ("WEB-2", []),
        ("web-1", []),
        ("XWEB-1", []),
        ("WEB-10", []),
        ("WEB-1-2", []),
        ("`WEB-1`", []),
        ("    WEB-1", []),
        ("[WEB-1](https://a.example)", ["https://a.example"]),
        ("@bob", [BOB.address]),
        ("ask @bob.", [BOB.address]),
        ("@Bob", [BOB.address]),
        ("@bobby", []),
        ("ada@bob.example", []),
        ("`@bob`", []),
        ("https://a.example/@bob", ["https://a.example/@bob"]),
    ],
)
def test_keys_and_mentions_that_the_viewer_sees_become_links(text, addresses):
    assert links_of(text) == addresses


def test_title_of_a_key_is_escaped():
    html = render_markdown("WEB-1", REFERENCES)

    assert 'title="A &quot;title&quot; &lt;b&gt;"' in html
    assert 'class="task-key"' in html


@pytest.fixture
def rows(db):
    root = new_tenant("acme", "root", "a long password")
    with inside(root.tenant):
        ada, bob = person(root, "ada"), person(root, "bob")
        web = ProjectFactory(actor=ada, name="Web", key="WEB")
        other = ProjectFactory(actor=root, name="Secret", key="SEC")
        task = TaskFactory(actor=ada, project=web, title="Pack")
        hidden = TaskFactory(actor=root, project=other, title="Plot")
        yield {"root": root, "ada": ada, "bob": bob, "task": task, "hidden": hidden}


@pytest.mark.isolation
def test_task_that_the_viewer_cannot_see_stays_text(rows):
    texts = ["WEB-1 SEC-1 @ada @nobody @bob"]  # Bob is no member

    seen_by_ada = find_references(rows["ada"], texts, rows["task"].project_id)
    seen_by_root = find_references(rows["root"], texts, rows["task"].project_id)

    assert (set(seen_by_ada.tasks), set(seen_by_ada.users)) == ({"WEB-1"}, {"ada"})
    assert set(seen_by_root.tasks) == {"WEB-1", "SEC-1"}
    assert seen_by_ada.users["ada"].css_class == "mention is-me"
    assert seen_by_root.users["ada"].css_class == "mention"


@pytest.mark.slow
def test_done_task_is_marked_and_former_key_is_linked(rows):
    target = ProjectFactory(actor=rows["ada"], name="New", key="NEW")
    complete_task(rows["ada"], rows["task"])
    move_task(rows["ada"], rows["task"], target)

    references = find_references(rows["ada"], ["WEB-1 NEW-1"], target.pk)

    assert {k: t.css_class for k, t in references.tasks.items()} == {
        "WEB-1": "task-key is-done",
        "NEW-1": "task-key is-done",
    }


def test_many_texts_cost_as_many_queries_as_one(rows):
    texts, project_id = ["WEB-1 and @ada"], rows["task"].project_id

    def count(number: int) -> int:
        with CaptureQueriesContext(connection) as queries:
            render_texts(rows["ada"], texts * number, project_id)
        return len(queries)

    assert count(50) == count(1) == 2


def test_text_without_references_costs_no_query(rows, django_assert_num_queries):
    with django_assert_num_queries(0):
        render_texts(rows["ada"], ["nothing"], rows["task"].project_id)


def test_texts_after_the_limit_of_a_page_are_not_parsed(rows, monkeypatch):
    monkeypatch.setattr(markdown, "MAX_PAGE_CHARACTERS", 10)

    texts = ["**first**", "**<b>**"]

    first, second = render_texts(rows["ada"], texts, rows["task"].project_id)

    assert first == "<p><strong>first</strong></p>\n"
    assert second == "<pre>**&lt;b&gt;**</pre>"


# ---- hostile texts ------------------------------------------------------------------------------

FRAGMENTS = st.sampled_from(
    [
        *("[", "]", "(", ")", "<", ">", "!", "`", "```\n", "*", "_", "~~", "|", "\n", "\n\n", "\\"),
        *("&", "&#", "&#x6a;", "&lt;", '"', "'", "=", "/", "#", ">", "- ", "1. ", "    ", "\t"),
        *("|---|\n", "javascript:", "JAVA\tSCRIPT:", "data:text/html,", "vbscript:", "//evil"),
        *("https://a.example", "mailto:", "file:///", "&#106;avascript:", "%6aavascript:"),
        *("<script>", "</script>", "<img src=x onerror=alert(1)>", "<svg/onload=alert(1)>"),
        *("<a href=javascript:alert(1)>", "<style>", "<iframe src=//evil>", "<!--", "-->", "<?"),
        *("[a]: javascript:alert(1)\n\n", "[a]: https://a.example 'x'\n\n", "[a]", "onclick=x"),
        *("WEB-1", "@bob", "word", " ", "\u202e", "\ufeff", "\u2028"),
    ]
)
ALLOWED = {"href", "title", "class", "rel", "start"}


@pytest.mark.slow
@settings(max_examples=3000, deadline=None)
@given(st.lists(st.one_of(FRAGMENTS, st.text(max_size=6)), max_size=25).map("".join))
def test_no_text_gets_anything_that_runs_into_the_page(text):
    for tag, attributes in Tags(render_markdown(text, REFERENCES)).found:
        assert tag in markdown.TAGS
        assert attributes.keys() <= ALLOWED
        if tag == "a":
            address = attributes.get("href")
            own = {WEB_1.address, BOB.address}
            assert address is None or address in own or is_safe_address(address)
            assert attributes["rel"] == "nofollow noopener"


@pytest.mark.parametrize(
    "attack",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        '[x](https://a.example" onmouseover="alert(1))',
        "[x](https://a.example 'x\" onclick=alert(1) y=\"')",
        "[a]: javascript:alert(1)\n\n[a]",
        "[x](&#106;avascript:alert(1))",
        "<https://a.example/<script>>",
    ],
)
def test_attack_becomes_text(attack):
    for tag, attributes in Tags(render_markdown(attack)).found:
        assert tag in {"p", "a"}
        assert attributes.keys() <= ALLOWED
        assert not str(attributes.get("href", "")).startswith("javascript")


@pytest.mark.parametrize(
    "text", ["[" * 65_536, "![" * 32_768, "*a_ " * 16_384, "<" * 65_536, "[a](b" * 13_107]
)
def test_text_of_nothing_but_markers_is_not_parsed(text):
    """The parser alone takes 2 to 12 seconds for each of these texts."""
    started = time.process_time()

    html = render_markdown(text)

    assert time.process_time() - started < 2
    assert [tag for tag, _ in Tags(html).found] == ["p"]


@pytest.mark.slow
def test_one_long_address_is_not_repeated_without_limit():
    text = f"[a]: https://a.example/{'z' * 10_000}\n\n" + "[a] x\n\n" * 7_000

    html = render_markdown(text)

    assert len(html) < 3 * markdown.MAX_LINK_CHARACTERS
