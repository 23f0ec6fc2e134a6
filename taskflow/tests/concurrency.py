"""Threads for tests of what happens at the same time. They need real commits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from django.db import connections

from accounts.models import Tenant
from taskflow.tenancy import inside

T = TypeVar("T")
TIMEOUT = 20  # seconds, for another thread to get somewhere
HEAD_START = 0.25  # seconds, for a call to reach the lock that it has to wait for


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run the calls in threads that start together. Return what each returned or raised."""
    barrier, results = threading.Barrier(len(calls)), [None] * len(calls)

    def run(index: int, call: Callable[[], Any]) -> None:
        try:
            barrier.wait()
            results[index] = call()
        except Exception as error:
            results[index] = error
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@contextmanager
def held_open(tenant: Tenant, work: Callable[[], Any]) -> Iterator[None]:
    """Do `work` in another thread, in a transaction that is committed when the block ends."""
    is_done, may_commit = threading.Event(), threading.Event()

    def hold() -> None:
        try:
            with inside(tenant):
                work()
                is_done.set()
                may_commit.wait(TIMEOUT)
        finally:
            connections.close_all()

    holder = threading.Thread(target=hold)
    holder.start()
    assert is_done.wait(TIMEOUT)
    try:
        yield
    finally:
        may_commit.set()
        holder.join()


def call_during(tenant: Tenant, work: Callable[[], Any], call: Callable[[], T]) -> T:
    """Start `call` while a transaction that did `work` is open; commit that; return the result.

    The call reads what was stored before the work. If it takes a lock that the work holds, it waits
    and must then go on with what the work has committed.
    """
    with ThreadPoolExecutor(1) as pool:
        with held_open(tenant, work):
            result: Future[T] = pool.submit(call)
            with suppress(TimeoutError):  # as long as the call waits for the work
                result.exception(HEAD_START)
        value = result.result(TIMEOUT)
        pool.submit(connections.close_all).result(TIMEOUT)
    return value
