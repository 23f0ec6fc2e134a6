"""The schemas of offboarding."""

from __future__ import annotations

from pydantic import Field

from accounts.schemas.users import UserResponse
from taskflow.http.references import UserReference
from taskflow.http.schema import In, Out, example


class OffboardingRequest(In):
    """Who takes over what the user owns."""

    model_config = example(hand_over_to="me")

    hand_over_to: UserReference | None = Field(
        None,
        description="The user who takes over: `me`, an id or `@handle`. Null: other owners take"
        " over projects, and open tasks are unassigned.",
    )


class OffboardingResponse(Out):
    """What was changed when a user was offboarded. All numbers count rows."""

    user: UserResponse = Field(description="The user, who is now deactivated.")
    tokens_revoked: int = Field(description="Tokens of the user that were revoked.")
    tasks_handed_over: int = Field(description="Open tasks that the new owner now has.")
    tasks_unassigned: int = Field(description="Open tasks that now have no assignee.")
    projects_handed_over: list[int] = Field(
        description="Ids of the projects that have a new owner."
    )
    pages_handed_over: int = Field(description="Pages that have a new owner.")
    views_handed_over: int = Field(description="Shared views that have a new owner.")
    views_deleted: int = Field(description="Views of the user that were not shared.")
    memberships_ended: int = Field(description="Projects of which the user is no longer a member.")
    agents_handed_over: int = Field(description="Agents with a new responsible user.")
    agents_deactivated: int = Field(description="Agents of the user that were offboarded too.")
