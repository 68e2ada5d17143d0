"""Names of things: digests, node identities, and the ids people and nodes see.

Inside, a job is a counter and a task is (job, ordinal): random keys cost a store ten times as much.
Outside, ids are a keyed permutation (one AES block) of those integers, so they tell nobody how many
jobs or tasks there are, and nothing has to be looked up to translate them.
"""

from __future__ import annotations

import base64
import hashlib
import re
import struct
from collections.abc import Callable, Sequence
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from crowdgrid.errors import BadInput, NotFound

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers import Cipher

_DIGEST = re.compile(r"[0-9a-f]{64}")
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_ED25519_PREFIX = b"\xed\x01"  # multicodec ed25519-pub

type_job, type_task, type_assignment = 1, 2, 3
_BLOCK = struct.Struct(">BIQHx")  # kind, job, ordinal, attempt, one zero byte that proves the key
_KEPT = 1_024  # ids read lately
_LETTER = {type_job: "j", type_task: "t", type_assignment: "a"}


def block_of(address: str) -> str:
    """The block of addresses one site usually has, of a machine elsewhere: a /24 of IPv4, a /48 of IPv6. "" for this
    machine and for what is no address."""
    from ipaddress import IPv4Address, ip_address, ip_network

    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    found = getattr(found, "ipv4_mapped", None) or found
    if found.is_loopback or found.is_unspecified:
        return ""
    return str(ip_network(f"{found}/{24 if isinstance(found, IPv4Address) else 48}", strict=False))


def digest_of(data: bytes) -> str:
    """SHA-256 of `data`, 64 lower-case hex digits: the name of a program, a chunk or a blob."""
    return hashlib.sha256(data).hexdigest()


def check_digest(text: str) -> str:
    """`text` if it is 64 lower-case hex digits. Raises BadInput otherwise."""
    if not _DIGEST.fullmatch(text):
        raise BadInput("A digest is 64 lower-case hex digits.", hint="Use the SHA-256 of the content.")
    return text


def did_of(public_key: bytes) -> str:
    """The did:key of an Ed25519 public key of 32 bytes (W3C did:key, multibase base58-btc)."""
    number = int.from_bytes(_ED25519_PREFIX + public_key, "big")
    text = ""
    while number:
        number, digit = divmod(number, 58)
        text = _BASE58[digit] + text
    return "did:key:z" + text


def key_of(did: str) -> bytes:
    """The Ed25519 public key (32 bytes) of a did:key. Raises BadInput when it is not one."""
    number = 0
    for letter in did.removeprefix("did:key:z"):
        number = number * 58 + _BASE58.find(letter)
    data = number.to_bytes(34, "big") if number > 0 and number.bit_length() <= 34 * 8 else b""
    if data[:2] != _ED25519_PREFIX or did_of(data[2:]) != did:
        raise BadInput("A node's id is the did:key of an Ed25519 public key.")
    return data[2:]


class PublicIds:
    """The keyed permutation between (job, ordinal, attempt) and what is shown outside.

    Args:
        key: 16 secret bytes, made once for a grid and kept in its store.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    @cached_property
    def _cipher(self) -> Cipher[Any]:
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        # ECB on a single unique block is the permutation itself; nothing secret is encrypted here.
        return Cipher(algorithms.AES(self._key), modes.ECB())  # noqa: S305

    # ECB carries nothing from block to block, so one context serves all calls; making one costs ten times its use.

    @cached_property
    def _hide(self) -> Callable[[bytes], bytes]:
        return self._cipher.encryptor().update

    @cached_property
    def _reveal(self) -> Callable[[bytes], bytes]:
        return self._cipher.decryptor().update

    def assignments(self, numbers: Sequence[tuple[int, int, int]]) -> list[bytes]:
        """16-byte tokens of assignments, all in one call to the cipher."""
        blocks = b"".join([_BLOCK.pack(type_assignment, j, o, a) for j, o, a in numbers])
        data = self._hide(blocks)
        return [data[at : at + 16] for at in range(0, len(data), 16)]

    def assignment_numbers(self, tokens: Sequence[bytes]) -> list[tuple[int, int, int] | None]:
        """The numbers behind tokens; None for each that this grid never gave out."""
        if any(len(token) != 16 for token in tokens):
            return [self.assignment_numbers([t])[0] if len(t) == 16 else None for t in tokens]
        data = self._reveal(b"".join(tokens))
        found: list[tuple[int, int, int] | None] = []
        for at in range(0, len(data), 16):
            kind, job, ordinal, attempt = _BLOCK.unpack_from(data, at)
            found.append((job, ordinal, attempt) if kind == type_assignment and not data[at + 15] else None)
        return found

    def _show(self, kind: int, job: int, ordinal: int = 0, attempt: int = 0) -> str:
        token = self._hide(_BLOCK.pack(kind, job, ordinal, attempt))
        return _LETTER[kind] + base64.b32encode(token).decode().rstrip("=").lower()

    def job(self, job: int) -> str:
        """The id of a job, 27 characters."""
        return self._show(type_job, job)

    def task(self, job: int, ordinal: int) -> str:
        """The id of a task, 27 characters."""
        return self._show(type_task, job, ordinal)

    def assignment(self, job: int, ordinal: int, attempt: int) -> str:
        """The id of an assignment, 27 characters."""
        return self._show(type_assignment, job, ordinal, attempt)

    @cached_property
    def numbers(self) -> Callable[[str], tuple[int, int, int, int]]:
        """(kind, job, ordinal, attempt) behind an id. Raises NotFound when this grid never made it.

        The last ones are kept: a client names its job with every append.
        """
        return lru_cache(_KEPT)(self._numbers)

    def _numbers(self, text: str) -> tuple[int, int, int, int]:
        try:
            token = base64.b32decode(text[1:].upper() + "======")
        except ValueError:  # also of letters no id has
            token = b""
        if len(token) == 16:
            data = self._reveal(token)
            kind, job, ordinal, attempt = _BLOCK.unpack(data)
            if not data[15] and _LETTER.get(kind) == text[:1]:
                return kind, job, ordinal, attempt
        raise NotFound(f"There is no {text[:40]!r} on this grid.")
