"""Which users a text mentions."""

from __future__ import annotations

import pytest

from accounts.models import User
from taskflow.tenancy import inside
from tasks.queries.mentions import MAX_MENTIONS, find_mentioned_users, find_mentions

MENTIONS = {
    "@bob": ["bob"],
    "Hello @Ada, ask @bob.": ["ada", "bob"],
    "@bob @ada @bob": ["bob", "ada"],
    "(@bob) “@ada” **@eve** *@carl*": ["bob", "ada", "eve", "carl"],
    "@bob's and @a_b-c.d.": ["bob", "a_b-c.d"],
    "# @bob\n\n> @ada\n\n- @eve\n\n| @carl |": ["bob", "ada", "eve", "carl"],
    "[@bob](https://example.org)": ["bob"],
    "<b>@bob</b>": ["bob"],
    "＠bob": [],
    "": [],
    "no handle @ all, @, @-x, @_y": [],
    "bob@example.org and bob+x@example.org, <bob@example.org>": [],
    "https://example.org/@bob?by=@bob and packages/@bob": ["bob"],
    "@bob@example.org": [],
    "`@bob` and ``@ada ` @ada``": [],
    "```\n@bob\n```\n\n~~~ text\n@ada\n~~~": [],
    "Code:\n\n    @bob": [],
    "- item\n\n      @bob": [],
    "a ` b @bob": ["bob"],
    "```\n@bob": [],
    "ä@bob": [],
}


@pytest.mark.one_database
@pytest.mark.sampled(len(MENTIONS))
@pytest.mark.parametrize("text", MENTIONS)
def test_a_handle_outside_code_and_addresses_is_a_mention(text):
    assert find_mentions(text) == MENTIONS[text]


@pytest.mark.one_database
def test_handles_beyond_the_limit_are_no_mentions():
    text = " ".join(f"@user{n}" for n in range(MAX_MENTIONS + 10))

    assert find_mentions(text) == [f"user{n}" for n in range(MAX_MENTIONS)]


def test_active_members_and_administrators_are_mentioned(fixtures):
    with inside(fixtures.acme):
        users = find_mentioned_users(["ada", "bob", "boss", "bot"], fixtures.apollo.pk)

    assert users == {
        "ada": fixtures.ada.user,
        "bob": fixtures.bob.user,
        "boss": fixtures.boss.user,
        "bot": fixtures.bot.user,
    }


def test_others_are_not_mentioned(fixtures, django_assert_num_queries):
    with inside(fixtures.acme):
        User.objects.filter(handle="carl").update(is_active=False)

    with inside(fixtures.acme), django_assert_num_queries(1):
        users = find_mentioned_users(["carl", "eve", "mallory", "nobody", "me"], fixtures.apollo.pk)

    assert users == {}


def test_without_handles_there_is_no_query(fixtures, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert find_mentioned_users([], fixtures.apollo.pk) == {}
