"""A crowdgrid hub and two agents as processes of their own, and `crowdgrid.connect()`."""

from __future__ import annotations

import os
import secrets
import sys

from benchmarks.peers.adapters.apart import Parts, answers, free_port, tool, wait_until
from benchmarks.peers.adapters.crowdgrid_local import CrowdgridLocal, computing
from benchmarks.peers.adapters.peer import WORKERS
from benchmarks.peers.adapters.session import serve

PROFILE = "PEERS_PROFILE"


class CrowdgridHub(CrowdgridLocal):
    def start(self) -> None:
        self._parts = Parts(self.folder)
        port, token, invitation = free_port(), "cg_" + secrets.token_urlsafe(32), "cgi_" + secrets.token_urlsafe(24)
        (self.folder / "login").write_text(f"http://127.0.0.1:{port}\n{token}")
        self._secret = {"CROWDGRID_ADMIN_TOKEN": token, "CROWDGRID_INVITATION": invitation}
        words = [*self._crowdgrid("hub"), "hub", "--data", str(self.folder / "hub"), "--listen", f"127.0.0.1:{port}"]
        self._parts.start("hub", words, **self._secret)
        wait_until(lambda: answers(port), "the hub answers")
        for number in range(1, WORKERS + 1):
            name = f"agent-{number}"
            words = [*self._crowdgrid(name), "agent", "run", "--hub", f"http://127.0.0.1:{port}", "--name", name]
            words += ["--data", str(self.folder / name), "--cpus", "1", "--no-limits", "--python", "own"]
            self._parts.start(name, words, CROWDGRID_INVITATION=invitation)
        self.attach()

    def _crowdgrid(self, name: str) -> list[str]:
        """The command; when the driver wants to know where time goes, under a profiler that writes to the folder."""
        if PROFILE not in os.environ:
            return [tool("crowdgrid")]
        return [sys.executable, "-m", "benchmarks.profiling", str(self.folder / f"{name}.prof")]

    def attach(self) -> None:
        import crowdgrid

        self._parts = Parts(self.folder)
        url, token = (self.folder / "login").read_text().split()
        self._begin(crowdgrid, crowdgrid.connect(url, token))

    def close(self) -> None:
        super().close()
        self._parts.stop()

    def parts(self) -> dict[str, list[int]]:
        agents = [self._parts.pid(f"agent-{number}") for number in range(1, WORKERS + 1)]
        return {"the hub": [self._parts.pid("hub")], "an agent": agents[:1], "a worker": computing(agents)[:1]}

    def restart(self, part: str) -> bool:
        if part == "a worker":
            return False
        name = "hub" if part == "the hub" else "agent-1"
        self._parts.start_again(name, **self._secret)
        return True


if __name__ == "__main__":
    serve(CrowdgridHub)
