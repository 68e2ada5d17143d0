"""The node's identity: an Ed25519 key in a file that only its owner can read.

The key is made once, on first start, and never leaves the machine. The file is written beside its place
and linked there, so that two agents starting at once agree on one key and a crash leaves either a
whole key or none. A key that others can read is refused: it may have been copied already.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from crowdgrid.errors import BadInput, NotAllowed, Unavailable

FILE_NAME: Final = "node.key"
_FILE_BYTES_MAX: Final = 4096


def private_folder(path: Path) -> Path:
    """Make `path` for this user only, or check that it is. Returns it absolute.

    Raises:
        Unavailable: it cannot be made.
        NotAllowed: somebody else owns it or can write to it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.stat()
    except OSError as error:
        raise Unavailable(
            f"The agent's folder {path} cannot be used: {error.strerror}.", hint="Choose another with --data."
        ) from None
    if found.st_uid != os.geteuid() or found.st_mode & 0o022:
        raise NotAllowed(
            f"The agent's folder {path} belongs to somebody else or others can write to it.",
            hint=f"Choose another with --data, or run `chmod 700 {path}`.",
        )
    return path.absolute()


def load_or_create(folder: Path) -> Ed25519PrivateKey:
    """The key kept in `folder`, made if there is none.

    Raises:
        NotAllowed: others can read the file.
        BadInput: it is not an Ed25519 key.
        Unavailable: it cannot be read or written.
    """
    path = folder / FILE_NAME
    try:
        if not path.exists():
            _create(path)
        return _load(path)
    except OSError as error:
        raise Unavailable(f"The node's key {path} cannot be read or written: {error.strerror}.") from None


def _load(path: Path) -> Ed25519PrivateKey:
    with path.open("rb") as file:
        found = os.fstat(file.fileno())
        if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO) or found.st_uid != os.geteuid():
            raise NotAllowed(
                f"Others can read the node's key {path}, so it may have been copied.",
                hint=f"If you are sure it was not, run `chmod 600 {path}`; otherwise delete it and join again as a new node.",
            )
        data = file.read(_FILE_BYTES_MAX)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise BadInput(
            f"{path} is not an Ed25519 key.",
            hint="Bring it back from a backup, or delete it and join again as a new node.",
        )
    return key


def _create(path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)  # unlike a rename, this never replaces a key that is there
        except FileExistsError:
            return  # another agent was quicker: its key is the node's
    finally:
        draft.unlink(missing_ok=True)
