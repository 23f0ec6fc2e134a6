"""Which client sends a request, before the application has checked its token."""

from __future__ import annotations

from threading import Lock

from taskflow.front.limits import MAX_KNOWN_TOKENS
from taskflow.front.protocol import Environ
from taskflow.http.addresses import find_client, find_site
from taskflow.http.credentials import read_bearer_token
from taskflow.http.request_record import USER

Client = object


def find_address(environ: Environ) -> Client:
    """Return the address of the client; of IPv6 the network, whose addresses it can choose."""
    return find_site(find_client(environ))


class KnownUsers:
    """The users of the tokens that the application has accepted lately.

    A client can make up any number of tokens, and write one token in many ways. So a token stands
    for its user once it was accepted, and until then it does not distinguish clients at all.
    """

    def __init__(self) -> None:
        # By the hash of the token, which is short and has a random seed. The oldest first.
        self._users: dict[int, object] = {}
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._users)

    def identify(self, environ: Environ) -> Client:
        """Return the user of the token if it is known, otherwise the address of the client."""
        token = read_bearer_token(environ)
        user = self._users.get(hash(token)) if token else None
        return user or find_address(environ)

    def learn(self, environ: Environ) -> None:
        """Store whose token it is, or that it is nobody's. For an answered request."""
        token = read_bearer_token(environ)
        if not token:
            return
        user = environ.get(USER)
        with self._lock:
            self._users.pop(hash(token), None)
            if user is not None:
                self._users[hash(token)] = user
                if len(self._users) > MAX_KNOWN_TOKENS:
                    del self._users[next(iter(self._users))]
