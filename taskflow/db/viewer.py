"""The user for whom a query is run."""

from __future__ import annotations

from typing import NamedTuple


class Viewer(NamedTuple):
    """What `visible_to()` has to know about the user who reads.

    `project_ids` are the projects that the user's token is bound to, or None if it is not bound.
    `token_id` is the id of such a token, otherwise None. `maker_id` is the user who created the
    token for its user, or None; only projects that this user can see too are visible. None also
    stands for an administrator, who sees all projects. While a queryset is compiled, the numbers
    are Parameters.
    """

    user_id: int
    is_staff: bool
    project_ids: tuple[int, ...] | None = None
    token_id: int | None = None
    maker_id: int | None = None
