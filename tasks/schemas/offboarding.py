"""The schemas of offboarding."""

from __future__ import annotations

from pydantic import Field

from accounts.schemas import UserResponse
from taskflow.http.schema import Id, In, Out


class OffboardingRequest(In):
    hand_over_to: Id | None = Field(
        None,
        description="Id of the user who takes over. Null: other owners take over projects, and open"
        " tasks are unassigned.",
    )


class OffboardingResponse(Out):
    user: UserResponse
    tokens_revoked: int
    tasks_handed_over: int
    tasks_unassigned: int
    projects_handed_over: list[int] = Field(description="Ids of projects.")
    pages_handed_over: int
    memberships_ended: int
    agents_handed_over: int
    agents_deactivated: int
