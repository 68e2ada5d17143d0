"""The saved login: which hub, with which token. A file only its owner can read, in the user's config folder."""

from __future__ import annotations

import hmac
import os
from pathlib import Path
from typing import Final

import msgspec

from crowdgrid.client.address import Address
from crowdgrid.errors import BadInput

DEFAULT_URL: Final = "http://127.0.0.1:7070"


class Login(msgspec.Struct, frozen=True):
    """What is saved."""

    url: str
    token: str = ""
    own: bool = False  # the hub is this user's own: `up` made it and this login


def file() -> Path:
    """Where the login is saved."""
    from platformdirs import user_config_dir

    return Path(user_config_dir("crowdgrid")) / "login.json"


def saved() -> Login | None:
    """The saved login, if there is one. Raises BadInput when the file is damaged."""
    path = file()
    try:
        return msgspec.json.decode(path.read_bytes(), type=Login)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (msgspec.DecodeError, OSError) as error:
        raise BadInput(
            f"The saved login {path} cannot be read: {error}.", hint="Remove it, then `crowdgrid login`."
        ) from None


def save(login: Login) -> Path:
    """Save it, readable by this user only, all at once."""
    path = file()
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(msgspec.json.format(msgspec.json.encode(login)))
    fresh.replace(path)
    return path


def address(url: str | None = None, token: str | None = None) -> Address:
    """The hub that is meant, from what was given, the environment and the saved login, in this order.

    A saved token is only ever sent to the hub it was saved for.
    """
    ca = os.environ.get("CROWDGRID_CA", "")
    known = saved()
    wanted = url or os.environ.get("CROWDGRID_URL") or (known.url if known else DEFAULT_URL)
    found = Address.parse(wanted, ca=ca)
    secret = token or os.environ.get("CROWDGRID_TOKEN", "")
    if not secret and known is not None and Address.parse(known.url).url == found.url:
        secret = known.token
    return Address(found.url, secret, ca)


def is_own(address: Address) -> bool:
    """Whether this user runs the hub at `address`: `crowdgrid up` saved the login with this very token."""
    known = saved()
    if known is None or not known.own or not known.token:
        return False
    return Address.parse(known.url).url == address.url and hmac.compare_digest(known.token, address.token)
