"""The event log as a feed: order, positions, filters, and what a viewer sees of it."""

from __future__ import annotations

import random
import threading
from itertools import pairwise

import pytest
from django.db import connection

from taskflow.audit import feed
from taskflow.audit.feed import (
    BEGINNING,
    START,
    FeedFilters,
    LogPosition,
    format_cursor,
    latest_cursor,
    parse_cursor,
    read_events,
)
from taskflow.audit.models import Event
from taskflow.http.errors import Gone, InvalidCursor
from taskflow.tenancy import inside
from tasks.actions.comments import create_comment
from tasks.actions.projects import create_project
from tasks.changes.tasks import complete_task, create_task, move_task, update_task


def read_all(viewer, filters=feed.NO_FILTERS, after=BEGINNING, limits=(200,)):
    """Return all events after the cursor, read in pages of these limits in turn."""
    events, has_more, calls = [], True, 0
    while has_more:
        page = read_events(viewer, after, filters, limits[calls % len(limits)])
        events += page.events
        after, has_more = page.next_cursor, page.has_more
        calls += 1
        assert calls < 1000
    return events


def verbs(events):
    return [f"{event.subject_type}.{event.verb}" for event in events]


@pytest.fixture
def boss(fixtures):
    with inside(fixtures.acme):
        yield fixtures.boss


def test_beginning_of_log_reads_all_events_in_their_order(fixtures, boss):
    events = read_all(boss.viewer)

    assert [e.pk for e in events] == list(
        Event.objects.order_by("epoch", "sequence", "id").values_list("pk", flat=True)
    )
    assert len(events) > 5


def test_latest_cursor_reads_only_later_events(fixtures, boss):
    cursor = latest_cursor()
    assert read_events(boss.viewer, cursor)[:3] == ([], cursor, False)

    create_task(fixtures.ada, fixtures.apollo, title="Later")
    page = read_events(boss.viewer, cursor)

    assert verbs(page.events) == ["task.created"]
    assert page.next_cursor == page.events[-1].cursor == latest_cursor()
    assert not page.has_more


def test_cursor_of_filtered_read_moves_past_events_that_are_left_out(fixtures, boss):
    cursor = latest_cursor()
    create_task(fixtures.ada, fixtures.apollo, title="Later")

    page = read_events(boss.viewer, cursor, FeedFilters(types=(("task", "completed"),)))

    assert page[:3] == ([], latest_cursor(), False)


@pytest.mark.sampled(1)
@pytest.mark.parametrize("seed", range(8))
@pytest.mark.slow
def test_any_division_into_pages_reads_the_same_events(fixtures, boss, monkeypatch, seed):
    other = create_project(fixtures.ada, name="Zeus", key="ZEU")
    chosen = random.Random(seed)
    for number in range(12):
        task = create_task(fixtures.ada, fixtures.apollo, title=f"t{number}")
        if chosen.random() < 0.5:
            complete_task(fixtures.ada, task)
        if chosen.random() < 0.3:
            move_task(fixtures.ada, task, other)
    monkeypatch.setattr(feed, "WINDOW", chosen.randint(1, 9))
    feed._end_queries.queries.cache_clear()
    filters = [
        feed.NO_FILTERS,
        FeedFilters(projects=(other.pk,)),
        FeedFilters(tasks=(task.pk, fixtures.task.pk)),
        FeedFilters(actors=(fixtures.ada.user.pk,)),
        FeedFilters(types=(("task", "completed"), ("task", "moved"))),
    ]
    for viewer in (boss.viewer, fixtures.bob.viewer):
        for wanted in filters:
            whole = [e.pk for e in read_all(viewer, wanted)]
            limits = [chosen.randint(1, 7) for _ in range(5)]
            assert [e.pk for e in read_all(viewer, wanted, limits=limits)] == whole
    feed._end_queries.queries.cache_clear()


def test_each_event_has_the_cursor_after_which_the_next_one_follows(fixtures, boss):
    events = read_all(boss.viewer)

    for event, following in pairwise(events):
        assert read_events(boss.viewer, event.cursor, limit=1).events == [following]


def test_filters_select_events(fixtures, boss):
    other = create_project(fixtures.ada, name="Zeus", key="ZEU")
    cursor = latest_cursor()
    task = create_task(fixtures.ada, fixtures.apollo, title="One")
    create_comment(fixtures.bob, task, body="Hello")
    update_task(fixtures.bob, task, title="Two")
    move_task(fixtures.ada, task, other)
    create_task(fixtures.ada, other, title="Other")

    def read(**filters):
        return verbs(read_events(boss.viewer, cursor, FeedFilters(**filters)).events)

    of_task = ["task.created", "comment.created", "task.changed", "task.moved"]
    assert read(tasks=(task.pk,)) == of_task
    assert read(projects=(fixtures.apollo.pk,)) == of_task
    assert read(projects=(other.pk,)) == ["task.moved", "task.created"]
    assert read(actors=(fixtures.bob.user.pk,)) == ["comment.created", "task.changed"]
    assert read(types=(("comment", "created"),)) == ["comment.created"]
    assert read(types=(("task", "moved"),), actors=(fixtures.bob.user.pk,)) == []


def test_viewer_reads_what_history_shows(fixtures, boss):
    cursor = latest_cursor()
    secret = create_project(fixtures.boss, name="Secret", key="SEC")
    create_task(fixtures.boss, secret, title="Plot")
    create_task(fixtures.ada, fixtures.apollo, title="Open")

    assert verbs(read_events(fixtures.bob.viewer, cursor).events) == ["task.created"]
    assert len(read_events(boss.viewer, cursor).events) > 2


def test_token_of_administrator_shows_what_its_maker_sees(fixtures, boss):
    secret = create_project(fixtures.boss, name="Secret", key="SEC")
    create_task(fixtures.boss, secret, title="Plot")
    made_by_bob = fixtures.eve.viewer._replace(is_staff=True, maker_id=fixtures.bob.user.pk)

    assert {e.project_id for e in read_all(made_by_bob)} == {fixtures.apollo.pk}
    assert {None, secret.pk} < {e.project_id for e in read_all(boss.viewer)}


def test_other_tenant_reads_no_events(fixtures):
    with inside(fixtures.acme):
        cursor = latest_cursor()
    with inside(fixtures.globex):
        with pytest.raises(Gone):
            read_events(fixtures.mallory.viewer, cursor)
        assert {e.tenant_id for e in read_all(fixtures.mallory.viewer)} == {fixtures.globex.pk}


def test_position_without_event_is_gone(fixtures, boss):
    last = parse_cursor(latest_cursor())

    for position in (last._replace(id=last.id + 1), last._replace(epoch=7), LogPosition(1, 0, 0)):
        with pytest.raises(Gone, match="after=0"):
            read_events(boss.viewer, format_cursor(position))


@pytest.mark.parametrize(
    "text", ["", "1", "x", "W10", "WzEsMl0", "null", "é", feed.encode_values([1, 2, "3"]),
             feed.encode_values([1, 2, True]), feed.encode_values([1, 2, -3]),
             feed.encode_values([1, 2, 2**63])],
)  # fmt: skip
def test_other_text_is_no_cursor(fixtures, boss, text):
    with pytest.raises(InvalidCursor, match="after=0"):
        read_events(boss.viewer, text)


def test_cursor_of_start_is_the_beginning():
    assert format_cursor(START) == BEGINNING
    assert parse_cursor(BEGINNING) == START


def test_former_epochs_come_first_whatever_their_sequences(fixtures, boss):
    cursor = latest_cursor()
    fixtures.ada.tenant.event_epoch = 2
    type(fixtures.acme).objects.filter(pk=fixtures.acme.pk).update(event_epoch=2)
    Event.objects.filter(epoch=1).update(sequence=2**50)
    epoch, _sequence, pk = parse_cursor(cursor)

    create_task(fixtures.ada, fixtures.apollo, title="Later")

    page = read_events(boss.viewer, format_cursor(LogPosition(epoch, 2**50, pk)))
    assert verbs(page.events) == ["task.created"]
    assert parse_cursor(page.next_cursor).epoch == 2


def test_cursor_from_before_shift_of_ids_stays_valid(fixtures, boss):
    events = read_all(boss.viewer)
    old = [e.cursor for e in events]
    shift = 10_000
    # As an import of the tenant does it.
    type(fixtures.acme).objects.filter(pk=fixtures.acme.pk).update(
        event_epoch=2, event_id_shifts={"1": shift}
    )
    for event in events:
        Event.objects.filter(pk=event.pk).update(id=event.pk + shift)

    assert [e.cursor for e in read_all(boss.viewer)] == old
    for cursor, following in zip(old, events[1:], strict=False):
        page = read_events(boss.viewer, cursor, limit=1)
        assert [e.pk for e in page.events] == [following.pk + shift]
    assert read_events(boss.viewer, old[-1])[:3] == ([], old[-1], False)
    assert latest_cursor() == old[-1]


@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("feed_of_ended_transactions")
def test_event_of_running_transaction_is_read_after_its_commit(fixtures):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has one writer at a time")
    begun, ended = threading.Event(), threading.Event()

    def write_slowly():
        with inside(fixtures.acme):
            create_task(fixtures.ada, fixtures.apollo, title="Slow")
            begun.set()
            ended.wait(5)
        connection.close()

    with inside(fixtures.acme):
        cursor = latest_cursor()
    thread = threading.Thread(target=write_slowly)
    thread.start()
    assert begun.wait(5)
    with inside(fixtures.acme):
        update_task(fixtures.ada, fixtures.task, title="Quick")
    with inside(fixtures.acme):
        assert read_events(fixtures.boss.viewer, cursor)[:3] == ([], cursor, False)
    ended.set()
    thread.join()
    with inside(fixtures.acme):
        page = read_events(fixtures.boss.viewer, cursor)
    assert sorted(verbs(page.events)) == ["task.changed", "task.created"]
