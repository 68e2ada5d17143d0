"""Who may do what: tokens, invitations, and the one rule `authorize(principal, verb, thing)`.

A secret is shown once, when it is made; what is kept is its SHA-256. The secrets have 256 random bits, so a plain
hash is enough (nothing can be guessed that a slow hash would protect) and finding one by its hash tells an
attacker's stopwatch nothing: the first byte of a hash cannot be chosen without knowing the secret.

Rules, all of them here:

- An admin may do everything. A submitter works with what is its own. A reader looks at what is its own.
- What belongs to somebody else does not exist: `NotFound`, never `NotAllowed`.
- A right secret always gets in; only wrong ones are counted against their address, so nobody can lock
  others out.

Committed tokens and invitations are followed through `saw` (a listener on the keeper's saved records). An
invitation is consumed in memory first, before its node's Join is committed, so two nodes cannot take the same
last use; a saved record therefore never raises the number of uses left.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from typing import Final, TypeAlias

import msgspec

from crowdgrid.core.model import Invitation, Job, Node, Record, Token
from crowdgrid.errors import Busy, NotAllowed, NotFound, NotSignedIn

TOKEN_PREFIX: Final = "cg_"  # noqa: S105
INVITATION_PREFIX: Final = "cgi_"
ROLES: Final = ("reader", "submitter", "admin")  # each may do what those before it may
FAILURES_MAX: Final = 20  # wrong secrets one address may try at once
FAILURES_PER_SECOND: Final = 0.5
ADDRESSES_KEPT: Final = 4_096


class Verb(StrEnum):
    """What somebody wants to do."""

    READ = "read"
    CREATE = "create"
    CHANGE = "change"
    REMOVE = "remove"


class Place(StrEnum):
    """What is not one record: a collection, or the grid as a whole."""

    JOBS = "jobs"
    PROGRAMS = "programs"
    BLOBS = "blobs"
    NODES = "nodes"
    TOKENS = "tokens"
    INVITATIONS = "invitations"
    GRID = "grid"


Thing: TypeAlias = Job | Node | Token | Invitation | Place


class Principal(msgspec.Struct, frozen=True):
    """Who is asking: `owner` is the name its things belong to."""

    owner: str
    role: str
    name: str = ""

    @property
    def admin(self) -> bool:
        """Whether every door is open."""
        return self.role == "admin"

    @property
    def scope(self) -> str:
        """The owner lists are narrowed to; "" for everybody's."""
        return "" if self.admin else self.owner

    def sees(self, owner: str) -> bool:
        """Whether things of `owner` exist for this principal."""
        return self.admin or owner == self.owner


def authorize(principal: Principal, verb: Verb, thing: Thing) -> None:
    """Let it pass, or say why not.

    Raises:
        NotFound: it belongs to somebody else.
        NotAllowed: the principal's role does not permit it.
    """
    if principal.admin:
        return
    if not isinstance(thing, Place) and thing.owner != principal.owner:
        kind = type(thing).__name__.lower()
        raise NotFound(f"There is no such {kind} on this grid, or it is not yours to see.")
    if verb is Verb.READ:
        return
    if principal.role != "submitter":
        raise NotAllowed(
            f"A {principal.role} token may look but not {verb.value}.",
            hint="Use a submitter token; `crowdgrid token create --role submitter` makes one.",
        )
    if thing is Place.GRID:
        raise NotAllowed("Only an admin may do that.", hint="Use an admin token.")


def secret_hash(secret: str) -> str:
    """Hex SHA-256 of a token's secret or an invitation's code: all that is kept of it."""
    return hashlib.sha256(secret.encode()).hexdigest()


def new_secret(prefix: str) -> str:
    """A fresh secret of 256 random bits."""
    return prefix + secrets.token_urlsafe(32)


class Failures:
    """Wrong secrets by address: a token bucket each, the least recently used forgotten first."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._buckets: OrderedDict[str, tuple[float, int]] = OrderedDict()  # address -> (left, at ms)

    def count(self, address: str) -> None:
        """One more wrong secret. Raises Busy when the address has tried too many."""
        now = self._now()
        left, at = self._buckets.pop(address, (float(FAILURES_MAX), now))
        left = min(FAILURES_MAX, left + (now - at) / 1000 * FAILURES_PER_SECOND)
        self._buckets[address] = (max(0.0, left - 1), now)
        if len(self._buckets) > ADDRESSES_KEPT:
            self._buckets.popitem(last=False)
        if left < 1:
            raise Busy("Too many wrong tokens came from your address.", hint="Wait a minute, then check the token.")


class Access:
    """The tokens and invitations of this grid, in memory.

    Args:
        now: engine time in ms.
    """

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._tokens: dict[str, Token] = {}
        self._invitations: dict[str, Invitation] = {}
        self._failures = Failures(now)

    def load(self, tokens: Iterable[Token], invitations: Iterable[Invitation]) -> None:
        """Start from what the store holds, forgetting everything else."""
        self._tokens = {token.secret_hash: token for token in tokens}
        self._invitations = {invitation.code_hash: invitation for invitation in invitations}

    def saw(self, records: Sequence[Record]) -> None:
        """Follow what was committed."""
        for record in records:
            if type(record) is Token:
                self._tokens[record.secret_hash] = record
            elif type(record) is Invitation:
                self._invitations[record.code_hash] = self._not_raised(record)

    def _not_raised(self, saved: Invitation) -> Invitation:
        known = self._invitations.get(saved.code_hash)
        if known is None or known.uses_left >= saved.uses_left:
            return saved
        return msgspec.structs.replace(saved, uses_left=known.uses_left)

    # --- tokens ---------------------------------------------------------------------------------

    def principal(self, authorization: str | None, address: str = "") -> Principal:
        """Who an Authorization header stands for.

        Raises:
            NotSignedIn: no token, or one that is unknown, expired or revoked.
            Busy: too many wrong ones from this address.
        """
        scheme, _, secret = (authorization or "").partition(" ")
        if not authorization:
            raise NotSignedIn("This needs a token.")
        if scheme.lower() != "bearer":
            raise NotSignedIn(f"The Authorization header is of kind {scheme[:20]!r} where a Bearer token is needed.")
        token = self._find(secret.strip())
        if token is None:
            self._failures.count(address)
            raise NotSignedIn
        return Principal(owner=token.owner, role=token.role, name=token.name)

    def _find(self, secret: str) -> Token | None:
        hashed = secret_hash(secret)
        token = self._tokens.get(hashed)
        if token is None or not hmac.compare_digest(token.secret_hash, hashed):
            return None
        return token if self._alive(token) else None

    def _alive(self, record: Token | Invitation) -> bool:
        return not record.revoked_at and (not record.expires_at or self._now() < record.expires_at)

    def tokens(self) -> list[Token]:
        """All tokens, by number."""
        return sorted(self._tokens.values(), key=lambda token: token.number)

    def token(self, number: int) -> Token | None:
        """One token."""
        return next((token for token in self._tokens.values() if token.number == number), None)

    def knows(self, secret: str) -> bool:
        """Whether this token or invitation code is here, alive or not."""
        hashed = secret_hash(secret)
        return hashed in self._tokens or hashed in self._invitations

    def has_admin(self) -> bool:
        """Whether any admin token could be used."""
        return any(token.role == "admin" and self._alive(token) for token in self._tokens.values())

    # --- invitations ----------------------------------------------------------------------------

    def invitations(self) -> list[Invitation]:
        """All invitations, by number."""
        return sorted(self._invitations.values(), key=lambda invitation: invitation.number)

    def invitation(self, number: int) -> Invitation | None:
        """One invitation."""
        return next((found for found in self._invitations.values() if found.number == number), None)

    def take_invitation(self, code: str, address: str = "") -> Invitation:
        """Use an invitation once. The record returned has one use less; give it to `commands.Join`.

        Raises:
            NotAllowed: unknown, expired, revoked or used up.
            Busy: too many wrong ones from this address.
        """
        hashed = secret_hash(code)
        found = self._invitations.get(hashed)
        if found is None or not self._alive(found):
            self._failures.count(address)
            raise NotAllowed(
                "This invitation is not known here, or it has expired.",
                hint="Ask whoever runs the grid for a new one: `crowdgrid token invite`.",
            )
        if found.uses_left <= 0:
            raise NotAllowed("This invitation is used up.", hint="Ask whoever runs the grid for a new one.")
        self._invitations[hashed] = taken = msgspec.structs.replace(found, uses_left=found.uses_left - 1)
        return taken

    def return_invitation(self, taken: Invitation) -> None:
        """Give a use back whose Join failed."""
        known = self._invitations.get(taken.code_hash)
        if known is not None:
            self._invitations[taken.code_hash] = msgspec.structs.replace(known, uses_left=known.uses_left + 1)
