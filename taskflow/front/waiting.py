"""Requests that wait for a thread, in a fair order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from taskflow.front.clients import Client
from taskflow.front.exchange import Exchange
from taskflow.front.protocol import Environ


class WaitingRequests:
    """Takes one request of each client in turn, so that many of one do not delay those of another.

    `identify` returns the client of a request. A client's reads and its writes take turns like two
    clients, so that writes without a share do not delay its reads. Not safe for threads: its lane
    locks it.
    """

    def __init__(self, identify: Callable[[Environ], Client]) -> None:
        self._identify = identify
        self._by_client: dict[Client, deque[Exchange]] = {}  # no deque is empty
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, exchange: Exchange) -> None:
        client = self._identify(exchange.environ), exchange.writer
        self._by_client.setdefault(client, deque()).append(exchange)
        self._count += 1

    def take_excess(self, limit: int) -> Exchange | None:
        """Remove and return a request if more than `limit` wait, otherwise return None.

        It is the last one of the client with the most requests.
        """
        if self._count <= limit:
            return None
        newest_first = reversed(self._by_client)
        client = max(newest_first, key=lambda client: len(self._by_client[client]))
        requests = self._by_client[client]
        excess = requests.pop()
        if not requests:
            del self._by_client[client]
        self._count -= 1
        return excess

    def take(self, may_begin: Callable[[Exchange], bool]) -> Exchange | None:
        """Remove and return the oldest request of the client whose turn it is.

        Clients whose oldest request may not begin are passed over. None if that is so for all.
        """
        able = (client for client, waiting in self._by_client.items() if may_begin(waiting[0]))
        client = next(able, None)
        if client is None:
            return None
        requests = self._by_client.pop(client)
        if len(requests) > 1:
            self._by_client[client] = requests  # now the last one in turn
        self._count -= 1
        return requests.popleft()

    def take_older_than(self, since: float) -> list[Exchange]:
        """Remove and return the requests that have waited since then or longer."""
        taken = []
        for client, requests in tuple(self._by_client.items()):
            while requests and requests[0].waits_since <= since:
                taken.append(requests.popleft())
            if not requests:
                del self._by_client[client]
        self._count -= len(taken)
        return taken

    def list_unwatched(self, since: float) -> list[Exchange]:
        """Return the requests that have waited since then and whose clients are not watched."""
        return [
            exchange
            for requests in self._by_client.values()
            for exchange in requests
            if exchange.watch is None and exchange.waits_since <= since
        ]
