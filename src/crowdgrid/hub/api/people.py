"""People and tools: who am I, tokens, and invitations for nodes.

A secret is in the answer to its creation and nowhere else, ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec

from crowdgrid import limits
from crowdgrid.core import commands
from crowdgrid.core.model import Invitation, Token
from crowdgrid.errors import NotAllowed, NotFound
from crowdgrid.hub import views
from crowdgrid.hub.access import INVITATION_PREFIX, ROLES, TOKEN_PREFIX, Place, Verb, new_secret, secret_hash
from crowdgrid.hub.api.paging import DEFAULT, Limit
from crowdgrid.hub.api.table import JSON, Answer, Body, Call, Endpoint, gives
from crowdgrid.hub.submission import check_name
from crowdgrid.hub.version import version

_R = TypeVar("_R", Token, Invitation)
Role = Literal["reader", "submitter", "admin"]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=10 * 366 * 86_400)]
Name = Annotated[str, msgspec.Meta(max_length=limits.NAME_CHARS)]


class Me(msgspec.Struct, frozen=True):
    """Who this token (of that name, if it has one) stands for, on which grid (hex), and the version of its hub."""

    owner: str
    role: str
    token: str
    grid: str
    version: str


class NewToken(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A token to make. `owner` "" is oneself; only an admin makes one for others. `expires_in` 0: never."""

    role: Role = "submitter"
    owner: Name = ""
    name: Name = ""
    expires_in: Seconds = 0.0


class MadeToken(msgspec.Struct, frozen=True):
    """A new token. `secret` is shown this once."""

    secret: str
    token: views.TokenInfo


class NewInvitation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An invitation to make: so many nodes may join with it, as `owner`'s ("" is oneself)."""

    uses: Annotated[int, msgspec.Meta(ge=1, le=limits.NODES_PER_OWNER)] = 1
    owner: Name = ""
    group: Name = ""
    expires_in: Seconds = 86_400.0


class MadeInvitation(msgspec.Struct, frozen=True):
    """A new invitation. `code` is shown this once."""

    code: str
    invitation: views.InvitationInfo


class NumberQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which page, by number."""

    limit: Limit = DEFAULT
    after: Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1, description="`next` of the page before.")] = 0


class TokensPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Tokens by number. `next` is `after` of the next page."""

    tokens: list[views.TokenInfo]
    next: int | None = None


class InvitationsPage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Invitations by number. `next` is `after` of the next page."""

    invitations: list[views.InvitationInfo]
    next: int | None = None


async def show_me(call: Call) -> Me:
    """Who am I, to this hub?"""
    who = call.principal
    return Me(who.owner, who.role, who.name, call.hub.keeper.grid.grid_id.hex(), version())


# --- tokens -----------------------------------------------------------------------------------


async def create_token(call: Call) -> Answer:
    """Make a token: never of a higher role than one's own, and for others only as an admin."""
    told: NewToken = call.body
    owner = _owner(call, told.owner)
    check_name(told.name)
    if ROLES.index(told.role) > ROLES.index(call.principal.role):
        raise NotAllowed(f"A {call.principal.role} cannot make a token of role {told.role}.", hint="Ask an admin.")
    secret = new_secret(TOKEN_PREFIX)
    now = call.hub.keeper.now()
    record = Token(
        number=0,
        secret_hash=secret_hash(secret),
        owner=owner,
        role=told.role,
        name=told.name,
        created_at=now,
        expires_at=_expiry(now, told.expires_in),
    )
    token = await call.hub.keeper.ask(commands.Put(record))
    return Answer(MadeToken(secret, views.token_info(token)))


async def list_tokens(call: Call) -> TokensPage:
    """One's own tokens, or for an admin everybody's."""
    page, more = _page(call, call.hub.access.tokens())
    return TokensPage([views.token_info(token) for token in page], more)


async def revoke_token(call: Call) -> views.TokenInfo:
    """From now on it opens nothing."""
    token = call.hub.access.token(call.path["number"])
    if token is None:
        raise NotFound("There is no such token on this grid, or it is not yours to see.")
    call.allow(Verb.REMOVE, token)
    if not token.revoked_at:
        revoked = msgspec.structs.replace(token, revoked_at=call.hub.keeper.now())
        token = await call.hub.keeper.ask(commands.Put(revoked))
    return views.token_info(token)


# --- invitations ------------------------------------------------------------------------------


async def create_invitation(call: Call) -> Answer:
    """Make a code that lets nodes join."""
    told: NewInvitation = call.body
    owner = _owner(call, told.owner)
    check_name(told.group)
    code = new_secret(INVITATION_PREFIX)
    now = call.hub.keeper.now()
    record = Invitation(
        number=0,
        code_hash=secret_hash(code),
        owner=owner,
        group=told.group,
        created_at=now,
        uses_left=told.uses,
        expires_at=_expiry(now, told.expires_in),
    )
    invitation = await call.hub.keeper.ask(commands.Put(record))
    return Answer(MadeInvitation(code, views.invitation_info(invitation)))


async def list_invitations(call: Call) -> InvitationsPage:
    """One's own invitations, or for an admin everybody's."""
    page, more = _page(call, call.hub.access.invitations())
    return InvitationsPage([views.invitation_info(invitation) for invitation in page], more)


async def revoke_invitation(call: Call) -> views.InvitationInfo:
    """From now on nobody can join with it; who has joined stays."""
    invitation = call.hub.access.invitation(call.path["number"])
    if invitation is None:
        raise NotFound("There is no such invitation on this grid, or it is not yours to see.")
    call.allow(Verb.REMOVE, invitation)
    if not invitation.revoked_at:
        revoked = msgspec.structs.replace(invitation, revoked_at=call.hub.keeper.now())
        invitation = await call.hub.keeper.ask(commands.Put(revoked))
    return views.invitation_info(invitation)


# --- both -------------------------------------------------------------------------------------


def _owner(call: Call, wanted: str) -> str:
    check_name(wanted)
    owner = wanted or call.principal.owner
    if owner != call.principal.owner and not call.principal.admin:
        raise NotAllowed("Only an admin may make one for somebody else.", hint="Leave owner out.")
    return owner


def _expiry(now: int, seconds: float) -> int:
    return now + int(seconds * 1000) if seconds else 0


def _page(call: Call, records: Sequence[_R]) -> tuple[list[_R], int | None]:
    query: NumberQuery = call.query
    mine = [r for r in records if r.number > query.after and call.principal.sees(r.owner)]
    page = mine[: query.limit]
    return page, page[-1].number if len(mine) > len(page) else None


_TOKENS = (Verb.CREATE, Place.TOKENS)
_INVITATIONS = (Verb.CREATE, Place.INVITATIONS)

ENDPOINTS = (
    Endpoint("GET", "/v1/me", "Who am I", show_me, (Verb.READ, Place.GRID), gives(Me, "Who the token stands for.")),
    Endpoint(
        "POST",
        "/v1/tokens",
        "Make a token",
        create_token,
        _TOKENS,
        gives(MadeToken, "The token, with its secret.", status=201),
        body=Body({JSON: NewToken}, 4096),
    ),
    Endpoint(
        "GET",
        "/v1/tokens",
        "List tokens",
        list_tokens,
        (Verb.READ, Place.TOKENS),
        gives(TokensPage, "A page."),
        query=NumberQuery,
    ),
    Endpoint(
        "POST",
        "/v1/tokens/{number:int}/revoke",
        "Revoke a token",
        revoke_token,
        (Verb.REMOVE, Place.TOKENS),
        gives(views.TokenInfo, "The token, revoked."),
    ),
    Endpoint(
        "POST",
        "/v1/invitations",
        "Make an invitation for nodes",
        create_invitation,
        _INVITATIONS,
        gives(MadeInvitation, "The invitation, with its code.", status=201),
        body=Body({JSON: NewInvitation}, 4096),
    ),
    Endpoint(
        "GET",
        "/v1/invitations",
        "List invitations",
        list_invitations,
        (Verb.READ, Place.INVITATIONS),
        gives(InvitationsPage, "A page."),
        query=NumberQuery,
    ),
    Endpoint(
        "POST",
        "/v1/invitations/{number:int}/revoke",
        "Revoke an invitation",
        revoke_invitation,
        (Verb.REMOVE, Place.INVITATIONS),
        gives(views.InvitationInfo, "The invitation, revoked."),
    ),
)
