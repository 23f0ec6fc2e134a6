"""Whose view of the data a query returns."""

from __future__ import annotations

from typing import NamedTuple


class Viewer(NamedTuple):
    """What `visible_to()` needs of the user who reads.

    `project_ids` are the projects that a token is bound to, or None for no bound; `token_id` is the
    id of such a token, else None. When a queryset is compiled, the numbers are Parameters.
    """

    user_id: int
    is_staff: bool
    project_ids: tuple[int, ...] | None = None
    token_id: int | None = None
