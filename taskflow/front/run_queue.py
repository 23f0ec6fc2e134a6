"""Waiting requests that are to be run again, in a fair order."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from taskflow.front.exchange import Response
from taskflow.front.held import Held, Key

ERRORS = 400  # the smallest status of an error


class RunQueue:
    """Takes one run of each tenant in turn. Equal requests of a tenant share one run.

    Not safe for threads: its owner locks it.
    """

    def __init__(self) -> None:
        self._by_tenant: dict[int, dict[Key, list[Held]]] = {}  # none is empty
        self.has_worker = False  # whether a thread takes runs

    def __len__(self) -> int:
        return sum(map(len, self._by_tenant.values()))

    def append(self, held: Held) -> None:
        self._by_tenant.setdefault(held.tenant_id, {}).setdefault(held.key, []).append(held)

    def take(self) -> list[Held]:
        """Remove and return the requests of the next run; an empty list if there is none."""
        tenant = next(iter(self._by_tenant), None)
        if tenant is None:
            return []
        runs = self._by_tenant.pop(tenant)
        run = runs.pop(next(iter(runs)))
        if runs:
            self._by_tenant[tenant] = runs  # now the last one in turn
        return run


def list_readers(run: Sequence[Held]) -> tuple[int, ...]:
    """Return the ids of the tokens of a run, sorted; none if it is of one token only."""
    tokens = {held.token_id for held in run if held.is_read and held.token_id is not None}
    return tuple(sorted(tokens)) if len(tokens) > 1 else ()


def sort_readers(
    run: Sequence[Held], classes: object, response: Response
) -> tuple[list[Held], list[Held]]:
    """Return those who get the answer to the first request, and those who have to be run again.

    `classes` are those of share_answer(). The first one gets its answer in any case, so that each
    run leaves fewer. After an error nothing is known about the others, which stay together.
    """
    own = run[0].token_id
    known: Mapping[object, Hashable] = classes if isinstance(classes, Mapping) else {}
    answered, others = [], []
    for held in run:
        if held.token_id == own or (own in known and known.get(held.token_id) == known[own]):
            answered.append(held)
            continue
        others.append(held)
        if response.status < ERRORS:
            held.reader_class = known.get(held.token_id, ("alone", held.token_id))
    return answered, others
