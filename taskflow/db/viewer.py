"""The user for whom a query is run."""

from __future__ import annotations

from typing import NamedTuple


class Viewer(NamedTuple):
    """What `visible_to()` has to know about the user who reads.

    `project_ids` are the projects that the user's token is bound to, or None if it is not bound.
    `token_id` is the id of such a token, otherwise None. While a queryset is compiled, the numbers
    are Parameters.
    """

    user_id: int
    is_staff: bool
    project_ids: tuple[int, ...] | None = None
    token_id: int | None = None
