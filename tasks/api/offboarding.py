"""Operations that end the access of a user."""

from __future__ import annotations

from ninja import Router

from accounts.actions.erasure import erase_user as erase
from accounts.auth import admin_auth
from accounts.models import User
from accounts.queries import find_referenced_user, find_user
from accounts.schemas.users import UserResponse
from taskflow.audit.actor import ActorRequest
from taskflow.http.schema import UserIdOrHandle
from tasks.actions import offboarding as actions
from tasks.schemas.offboarding import OffboardingRequest, OffboardingResponse

offboarding = Router(tags=["Users"], auth=admin_auth)


@offboarding.post("/{user_id}/offboarding", response=OffboardingResponse)
def offboard_user(
    request: ActorRequest, user_id: UserIdOrHandle, body: OffboardingRequest
) -> actions.Offboarding:
    """Deactivate a user, revoke their tokens, end their memberships, and hand over what they own.
    For administrators.

    Projects, pages, open tasks, shared views and agents go to `hand_over_to`; tasks that this user
    cannot see are unassigned. Without `hand_over_to`, each project goes to another owner of it,
    open tasks are unassigned and the agents of the user are offboarded too. The response contains
    what was changed; a repeated call changes nothing. 409 for the last administrator of the tenant,
    and `no_other_owner` with a list of the projects that have no other owner.
    """
    user = find_user(request.auth, user_id)
    new_owner = body.hand_over_to and find_referenced_user(
        request.auth, body.hand_over_to, "hand_over_to"
    )
    return actions.offboard_user(request.auth, user, new_owner or None)


@offboarding.post("/{user_id}/erasure", response=UserResponse)
def erase_user(request: ActorRequest, user_id: UserIdOrHandle) -> User:
    """Delete what identifies a deactivated user permanently: name, handle, e-mail, password,
    tokens, and mentions in texts and in the event log. For administrators.

    The events of the user stay, under the name “erased-7”. Copies that were made before, such as
    exports and backups, are not changed. 409 while the user is active.
    """
    return erase(request.auth, find_user(request.auth, user_id))
