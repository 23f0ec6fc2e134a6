"""Letting people go."""

from __future__ import annotations

from ninja import Router

from accounts.actions.users import erase_user as erase
from accounts.auth import admin_auth
from accounts.models import User
from accounts.schemas import UserResponse
from taskflow.audit.actor import ActorRequest
from tasks.actions import offboarding as actions
from tasks.queries.lookup import find_user, referred_user
from tasks.schemas.offboarding import OffboardingRequest, OffboardingResponse

offboarding = Router(tags=["Users"], auth=admin_auth)


@offboarding.post("/{id:user_id}/offboarding", response=OffboardingResponse)
def offboard_user(
    request: ActorRequest, user_id: int, body: OffboardingRequest
) -> actions.Offboarding:
    """Deactivate somebody, end his tokens and memberships, and hand over what is his. For
    administrators.

    His projects, pages, open tasks and agents go to `hand_over_to`; a task he cannot see is
    unassigned. Without it another owner takes each project, open tasks are unassigned and his
    agents leave with him. Answers what was done; done twice, nothing. 409 for the last
    administrator, and `no_other_owner` with the projects that need an heir.
    """
    user = find_user(request.auth, user_id)
    heir = body.hand_over_to and referred_user(request.auth, body.hand_over_to, "hand_over_to")
    return actions.offboard_user(request.auth, user, heir or None)


@offboarding.post("/{id:user_id}/erasure", response=UserResponse)
def erase_user(request: ActorRequest, user_id: int) -> User:
    """Wipe the name, handle and e-mail of a deactivated user, from the log too, for good. For
    administrators.

    What he did stays on record under “erased-7”. 409 while he is active.
    """
    return erase(request.auth, find_user(request.auth, user_id))
