"""Where a hub is and how to say who is asking: one URL, one token, and what went wrong on the way in words."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

import msgspec

from crowdgrid.errors import BadInput, CrowdgridError, Unavailable, from_code

if TYPE_CHECKING:
    from websockets.exceptions import InvalidHandshake

DEFAULT_PORT: Final = 7070
_LOOPBACK: Final = ("localhost", "127.0.0.1", "::1")


class NoHub(Unavailable):
    """There is something at this address, but it is no crowdgrid hub."""

    code = "no_hub"
    retryable = False
    default_hint = "Check the address; a hub listens on port 7070 unless told otherwise."


class _Problem(msgspec.Struct):
    """What of problem+json (RFC 9457) is read."""

    detail: str
    code: str
    hint: str = ""


@dataclass(frozen=True, slots=True)
class Address:
    """A hub.

    Attributes:
        url: `http://HOST:PORT` or `https://…`; without a scheme and port, http and 7070 are meant.
        token: the secret, "" for none.
        ca: a file with certificates to trust beside those of this machine, "" for none.
    """

    url: str
    token: str = field(default="", repr=False)
    ca: str = ""

    @classmethod
    def parse(cls, text: str, token: str = "", *, ca: str = "") -> Address:
        """Read what a person wrote. Raises BadInput when it is no address."""
        given = text.strip()
        parts = urlsplit(given if "://" in given else f"http://{given}")
        scheme = {"ws": "http", "wss": "https"}.get(parts.scheme, parts.scheme)
        try:
            host, port = parts.hostname, parts.port
        except ValueError:
            host = port = None
        if scheme not in {"http", "https"} or not host:
            raise BadInput(f"{text!r} is not the address of a hub.", hint="Write it like http://192.168.1.5:7070.")
        if port is None:
            port = 443 if scheme == "https" else DEFAULT_PORT if "://" not in given else 80
        shown = f"[{host}]" if ":" in host else host
        return cls(f"{scheme}://{shown}:{port}{parts.path.rstrip('/')}", token, ca)

    @property
    def _parts(self) -> SplitResult:
        return urlsplit(self.url)

    @property
    def loopback(self) -> bool:
        """Whether it is this machine."""
        return self._parts.hostname in _LOOPBACK

    @property
    def link(self) -> str:
        """The URL of the client link."""
        return "ws" + self.url.removeprefix("http") + "/v1/client"

    @property
    def headers(self) -> dict[str, str]:
        """What says who is asking."""
        return {"Authorization": f"Bearer {self.token}"} if self.token else {}

    @property
    def tls(self) -> ssl.SSLContext | None:
        """How to check the hub's certificate; None without TLS."""
        if not self.url.startswith("https"):
            return None
        context = ssl.create_default_context()
        if self.ca:
            context.load_verify_locations(self.ca)
        return context

    def unreachable(self, error: BaseException) -> Unavailable:
        """The error for a way that is closed."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return NoHub(
                f"The certificate of {self.url} is not trusted here: {error.verify_message}.",
                hint="For a hub with its own certificate set CROWDGRID_CA to the file with its CA.",
            )
        why = "it did not answer in time" if isinstance(error, TimeoutError) else _reason(error)
        return Unavailable(f"There is no way to the hub at {self.url}: {why}.")

    def hung_up(self) -> Unavailable:
        """The error for a connection that ended before the hub said a word."""
        return Unavailable(f"There is no way to the hub at {self.url}: it hung up before it answered.")


def _reason(error: BaseException) -> str:
    """An operating system's reason without its numbers."""
    if isinstance(error, ConnectionRefusedError) or "Connect call failed" in str(error):
        return "nothing listens there"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[:1].lower() + error.strerror[1:]
    return str(error) or type(error).__name__


def refusal(address: Address, error: InvalidHandshake) -> CrowdgridError:
    """Why a hub, or whatever is there, did not open the link."""
    response = getattr(error, "response", None)
    if response is None and isinstance(error.__cause__, EOFError | OSError):  # say, a hub killed at that moment
        return address.hung_up()
    if response is None:
        return NoHub(f"What answers at {address.url} is no crowdgrid hub: {error}.")
    return from_response(address, response.status_code, bytes(response.body or b""))


def from_response(address: Address, status: int, body: bytes) -> CrowdgridError:
    """The error of an HTTP answer that is not 2xx."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except (msgspec.DecodeError, UnicodeDecodeError):
        if status >= 500:
            return Unavailable(f"The hub at {address.url} cannot answer right now (HTTP {status}).")
        return NoHub(f"What answers at {address.url} is no crowdgrid hub (HTTP {status}).")
    return from_code(problem.code, problem.detail, problem.hint)
