"""Markdown that people wrote, as HTML that is safe to show.

The text is CommonMark with tables and strikethrough. HTML in it is shown as text. Task keys and
mentions become links to what the viewer may see, and stay text otherwise. nh3 then removes whatever
a browser could run, so that two independent parts have to fail before a script gets through.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from urllib.parse import urlsplit

import nh3
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.token import Token

from taskflow.audit.actor import Actor
from taskflow.db.text import fold
from tasks.admin.addresses import list_address
from tasks.models.projects import KEY_PATTERN
from tasks.queries.lookup import find_tasks
from tasks.queries.mentions import MENTION, find_mentioned_users

ENV_KEY = "taskflow_references"  # "references" is used by markdown-it itself
SCHEMES = frozenset({"http", "https", "mailto"})
# Characters of the addresses and titles of all links of one text. A text of 64 KiB can define one
# long address and use it 10,000 times, which would make a page of hundreds of megabytes.
MAX_LINK_CHARACTERS = 250_000
# Markers times characters of one paragraph. The time of the parser grows with this product for
# texts such as 60,000 opening brackets: without a limit, one such comment would take seconds.
MAX_PARAGRAPH_COST = 50_000_000
MARKER = re.compile(r"[\[<*_~`&]")
# Characters of all texts of one page that are parsed. The others are shown as they were written.
MAX_PAGE_CHARACTERS = 150_000
# Different keys, and different handles, of one page that are looked up. Others stay text.
MAX_REFERENCES = 500
REFERENCE = re.compile(
    rf"(?P<mention>(?i:{MENTION.pattern}))"
    r"|(?<![\w/@.&-])(?:"
    r"(?P<url>https?://[^\s<>\"'`|\\^{}]+)"
    rf"|(?P<key>{KEY_PATTERN.pattern}-[1-9][0-9]{{0,8}})(?![\w-])"
    r")"
)
END_OF_URL = re.compile(r"[.,:;!?)\]*_~]+$")
TAGS = frozenset(
    {
        *("a", "blockquote", "br", "code", "del", "em", "hr", "li", "ol", "p", "pre", "s"),
        *("h1", "h2", "h3", "h4", "h5", "h6", "strong", "ul"),
        *("table", "tbody", "td", "th", "thead", "tr"),
    }
)
ATTRIBUTES: dict[str, set[str]] = {"a": {"href", "title", "class"}, "ol": {"start"}}
REFERENCE_CLASSES = frozenset({"task-key", "task-key is-done", "mention", "mention is-me"})


@dataclass(frozen=True)
class Target:
    """What a key or a handle leads to."""

    address: str
    title: str
    css_class: str  # one of REFERENCE_CLASSES


@dataclass(frozen=True)
class References:
    """The keys and handles of some texts that the viewer may see, with their targets."""

    tasks: Mapping[str, Target] = field(default_factory=dict)  # by key, as WEB-12
    users: Mapping[str, Target] = field(default_factory=dict)  # by handle, without @

    def find(self, match: re.Match[str]) -> Target | None:
        """Return the target of a match of REFERENCE, or None if it stays text."""
        if key := match["key"]:
            return self.tasks.get(key)
        return self.users.get(fold(match[0].removeprefix("@")))


NO_REFERENCES = References()


def render_markdown(text: str, references: References = NO_REFERENCES) -> SafeString:
    """Return the text as HTML that is safe to put into a page. No query.

    `references` are those of find_references(). Without them, keys and mentions stay text.
    """
    html = MARKDOWN.render(text, {ENV_KEY: references})
    own = {t.address for t in (*references.tasks.values(), *references.users.values())}
    cleaned = CLEANER(html, attribute_filter=partial(_filter_attribute, own))
    return mark_safe(cleaned)  # noqa: S308  # nh3 has left only the tags and attributes above


def render_texts(actor: Actor, texts: Sequence[str], project_id: int) -> list[SafeString]:
    """Return the texts of one page, all of one project, as HTML.

    Texts after the first MAX_PAGE_CHARACTERS are not parsed: a page of comments that are as long as
    possible would take seconds. The queries of find_references().
    """
    references = find_references(actor, texts, project_id)
    rendered, characters = [], 0
    for text in texts:
        characters += len(text)
        is_within_limit = characters <= MAX_PAGE_CHARACTERS
        rendered.append(
            render_markdown(text, references)
            if is_within_limit
            else format_html("<pre>{}</pre>", text)
        )
    return rendered


def find_references(actor: Actor, texts: Iterable[str], project_id: int) -> References:
    """Return what the keys and mentions in texts of a project lead to.

    Tasks are those that the actor can see, users those whom such a text mentions. One query for
    keys, one for mentions, and three more if some keys are no present ones.
    """
    keys: dict[str, None] = {}
    handles: dict[str, None] = {}
    for match in (m for text in texts for m in REFERENCE.finditer(text)):
        if match["key"]:
            keys[match["key"]] = None
        elif match["mention"]:
            handles[fold(match[0].removeprefix("@"))] = None
    return References(
        _find_tasks(actor, list(keys)[:MAX_REFERENCES]),
        _find_users(actor, list(handles)[:MAX_REFERENCES], project_id),
    )


def _find_tasks(actor: Actor, keys: Sequence[str]) -> dict[str, Target]:
    return {
        key: Target(
            reverse("admin:tasks_task_change", args=[task.pk]),
            task.title,
            "task-key is-done" if task.completed else "task-key",
        )
        for key, task in (find_tasks(actor, keys) if keys else {}).items()
    }


def _find_users(actor: Actor, handles: Sequence[str], project_id: int) -> dict[str, Target]:
    return {
        handle: Target(
            list_address(assignee=f"@{handle}"),
            str(user),
            "mention is-me" if user.pk == actor.user.pk else "mention",
        )
        for handle, user in find_mentioned_users(handles, project_id).items()
    }


# ---- the parser ---------------------------------------------------------------------------------


def is_safe_address(address: str) -> bool:
    """Return whether a link may lead to the address: an absolute one of a known scheme."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in SCHEMES and bool(parts.netloc or parts.scheme == "mailto")


def parse_paragraphs(state: StateCore) -> None:
    """Parse the text inside each block. One that costs too much is shown as it was written."""
    for block in state.tokens:
        if block.type != "inline":
            continue
        block.children = []
        if len(MARKER.findall(block.content)) * len(block.content) > MAX_PARAGRAPH_COST:
            block.children.append(_text(block.content))
        else:
            state.md.inline.parse(block.content, state.md, state.env, block.children)


def link_references(state: StateCore) -> None:
    """Turn images into links, and keys, mentions and bare addresses into links.

    Nothing changes inside another link or inside code.
    """
    references: References = state.env[ENV_KEY]
    budget = [MAX_LINK_CHARACTERS]
    for block in state.tokens:
        if block.type == "inline" and block.children:
            block.children = list(_link_children(block.children, references, budget))


def _link_children(
    tokens: Sequence[Token], references: References, budget: list[int]
) -> Iterator[Token]:
    depth, dropped = 0, 0  # of links: how many are open, and how many of these are left out
    for token in tokens:
        if token.type == "link_open":
            if not _take(budget, str(token.attrs.get("href", "")) + str(token.attrs.get("title"))):
                dropped += 1
                continue
            depth += 1
            yield token
        elif token.type == "link_close":
            if dropped:
                dropped -= 1
                continue
            depth -= 1
            yield token
        elif token.type == "image":
            yield from _link_image(token, budget, is_in_link=depth > 0)
        elif token.type == "text" and not depth:
            yield from _link_text(token.content, references, budget)
        else:
            yield token


def _take(budget: list[int], text: str) -> bool:
    """Return whether a link with so many characters still fits, and count it."""
    budget[0] -= len(text)
    return budget[0] >= 0


def _link_image(token: Token, budget: list[int], *, is_in_link: bool) -> Iterator[Token]:
    """Yield a link to the image. The page itself loads nothing from another site."""
    address = str(token.attrs.get("src", ""))
    label = token.content or address
    if is_in_link or not is_safe_address(address) or not _take(budget, address):
        yield _text(label)
    else:
        yield from _link(label, {"href": address})


def _link_text(text: str, references: References, budget: list[int]) -> Iterator[Token]:
    start = 0
    for match in REFERENCE.finditer(text):
        found = _find_link(match, references)
        if found is None or not _take(budget, "".join(found[1].values())):
            continue
        label, attributes = found
        yield _text(text[start : match.start()])
        yield from _link(label, attributes)
        start = match.start() + len(label)
    yield _text(text[start:])


def _find_link(match: re.Match[str], references: References) -> tuple[str, dict[str, str]] | None:
    """Return the text and the attributes of the link for a match, or None."""
    if match["url"]:
        address = END_OF_URL.sub("", match["url"])
        return (address, {"href": address}) if is_safe_address(address) else None
    if (target := references.find(match)) is None:
        return None
    attributes = {"href": target.address, "title": target.title, "class": target.css_class}
    return match[0], attributes


def _link(label: str, attributes: Mapping[str, str]) -> Iterator[Token]:
    yield Token("link_open", "a", 1, attrs=dict(attributes))
    yield _text(label)
    yield Token("link_close", "a", -1)


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


def _filter_attribute(own: set[str], tag: str, name: str, value: str) -> str | None:
    """Return the value of an attribute, or None to remove it.

    `own` are the addresses of this site that the text may link to.
    """
    if name == "href":
        return value if value in own or is_safe_address(value) else None
    if name == "class":
        return value if value in REFERENCE_CLASSES else None
    return value


class Parser(MarkdownIt):
    def validateLink(self, url: str) -> bool:  # overrides a method of the package
        return is_safe_address(url)


def _build_parser() -> MarkdownIt:
    parser = Parser("commonmark", {"html": False}).enable(["table", "strikethrough"])
    parser.core.ruler.at("inline", parse_paragraphs)
    parser.core.ruler.push("link_references", link_references)
    return parser


MARKDOWN = _build_parser()
CLEANER = partial(
    nh3.clean,
    tags=set(TAGS),
    attributes=ATTRIBUTES,
    url_schemes=set(SCHEMES),
    link_rel="nofollow noopener",
)
