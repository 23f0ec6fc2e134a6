"""Requests that wait for a thread, in a fair order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from taskflow.front.exchange import Exchange
from taskflow.http.addresses import find_client, find_site

Client = object


class WaitingRequests:
    """Takes one request of each client in turn, so that many of one do not delay those of another.

    A client is a value of the header Authorization, or an address if there is none. With
    `by_address` it is always an address: of requests whose credentials are not checked, the header
    can have any value. A client's reads and its writes take turns like two clients, so that writes
    without a share do not delay its reads. Not safe for threads: its lane locks it.
    """

    def __init__(self, *, by_address: bool = False) -> None:
        self._by_address = by_address
        self._by_client: dict[Client, deque[Exchange]] = {}  # no deque is empty
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def append(self, exchange: Exchange) -> None:
        environ = exchange.environ
        credentials = None if self._by_address else environ.get("HTTP_AUTHORIZATION")
        client = credentials or find_site(find_client(environ)), exchange.writer
        self._by_client.setdefault(client, deque()).append(exchange)
        self._count += 1

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
