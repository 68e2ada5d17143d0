"""The hub's REST interface as the client needs it: programs, blobs, lists and everything that is not on the link.

Every request made here may be made twice, so one that finds the hub away or busy is made again for a while.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from crowdgrid.client.address import Address, from_response
from crowdgrid.errors import CrowdgridError, Unavailable
from crowdgrid.protocol.packing import chunk_count, slice_chunk

if TYPE_CHECKING:
    from collections.abc import Callable

    import httpx

BYTES: Final = "application/octet-stream"
PATIENCE_SECONDS: Final = 60.0
RETRY_SECONDS: Final = 0.2
RETRY_SECONDS_MAX: Final = 5.0
TIMEOUT_SECONDS: Final = 90.0
QUICK_BYTES: Final = 1 << 20  # are hashed on the event loop; more on a thread


class Rest:
    """One hub's REST interface.

    Args:
        patience: seconds to go on trying while the hub is away or busy; 0 is one attempt.
        alive: raises when there is no use in trying any longer.
    """

    def __init__(
        self,
        address: Address,
        *,
        patience: float = PATIENCE_SECONDS,
        alive: Callable[[], None] = lambda: None,
    ) -> None:
        self._address = address
        self._patience = patience
        self._alive = alive
        self._client: httpx.AsyncClient | None = None

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.aclose()

    # --- requests --------------------------------------------------------------------------------

    async def get(self, path: str, **query: Any) -> Any:
        """What is there, as JSON says it."""
        return json.loads(await self.fetch("GET", path, query=query))

    async def post(self, path: str, body: Any = None) -> Any:
        """Do it; the answer as JSON says it, None when there is none."""
        content = json.dumps(body).encode() if body is not None else None
        answer = await self.fetch("POST", path, content=content, headers={"Content-Type": "application/json"})
        return json.loads(answer) if answer else None

    async def put_program(self, content: bytes, runtime: str = "wasm") -> str:
        """Keep a program and have it looked at; its digest. Raises BadProgram when the grid cannot run it."""
        await self.fetch(
            "PUT", "/v1/programs", query={"runtime": runtime}, content=content, headers={"Content-Type": BYTES}
        )
        return hashlib.sha256(content).hexdigest()

    async def put_blob(self, content: bytes) -> str:
        """Keep a blob; its digest."""
        digest = await _digest(content)
        await self.fetch("PUT", f"/v1/blobs/{digest}", content=content, headers={"Content-Type": BYTES})
        return digest

    async def blob(self, digest: str) -> bytes:
        """A blob's content, checked against its digest."""
        content = await self.fetch("GET", f"/v1/blobs/{digest}", headers={"Accept": BYTES})
        if await _digest(content) != digest:
            raise Unavailable(f"The blob {digest[:12]}… came damaged.", hint="Try again.")
        return content

    async def input(self, job: str, start: int, stop: int) -> list[bytes]:
        """Items or lines [start, stop) of a job's input, as far as it has them, in as many requests as it takes."""
        found: list[bytes] = []
        while (first := start + len(found)) < stop:
            query = {"start": first, "stop": stop}
            path = f"/v1/jobs/{quote(job, safe='')}/input"
            chunk = await self.fetch("GET", path, query=query, headers={"Accept": BYTES})
            items = slice_chunk(chunk, 0, chunk_count(chunk))
            if not items:
                break
            found += items
        return found

    async def fetch(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> bytes:
        """The body of a 2xx answer.

        Raises:
            CrowdgridError: what the hub refused it with.
        """
        answer = await self.ask(method, path, query=query, content=content, headers=headers)
        return answer.content

    async def ask(
        self,
        method: str,
        path: str,
        *,
        query: dict[str, Any] | None = None,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """The whole of a 2xx answer. Raises as `fetch`."""
        loop = asyncio.get_running_loop()
        failures, give_up_at = 0, loop.time() + self._patience
        while True:
            self._alive()
            try:
                return await self._once(method, path, query, content, headers)
            except CrowdgridError as error:
                if not error.retryable or loop.time() >= give_up_at:
                    raise
            failures += 1
            ceiling = min(RETRY_SECONDS_MAX, RETRY_SECONDS * 2.0 ** min(failures, 6))
            await asyncio.sleep(random.uniform(0.02, ceiling))

    async def _once(
        self,
        method: str,
        path: str,
        query: dict[str, Any] | None,
        content: bytes | None,
        headers: dict[str, str] | None,
    ) -> httpx.Response:
        import httpx

        given = {name: value for name, value in (query or {}).items() if value is not None}
        try:
            answer = await self._http().request(method, path, params=given, content=content, headers=headers)
        except httpx.InvalidURL as error:
            raise Unavailable(f"{path!r} is no address: {error}") from None
        except httpx.TransportError as error:
            raise self._address.unreachable(_cause(error)) from None
        if answer.is_success:
            return answer
        raise from_response(self._address, answer.status_code, answer.content)

    def _http(self) -> httpx.AsyncClient:
        import httpx

        if self._client is None:
            self._client = httpx.AsyncClient(
                base_url=self._address.url,
                headers=self._address.headers,
                timeout=httpx.Timeout(TIMEOUT_SECONDS, connect=10.0),
                verify=self._address.tls or True,
                trust_env=not self._address.loopback,
            )
        return self._client


async def _digest(content: bytes) -> str:
    if len(content) <= QUICK_BYTES:
        return hashlib.sha256(content).hexdigest()
    return await asyncio.to_thread(lambda: hashlib.sha256(content).hexdigest())


def _cause(error: Exception) -> BaseException:
    """The operating system's error under httpx's."""
    found: BaseException = error
    while (deeper := found.__cause__ or found.__context__) is not None:
        found = deeper
    return found
