"""The published trust vote, through REST with real agents.

Five agents of different owners, `echo 42` as a WASM program, overlap 5, threshold 0.6. Nobody can give a node trust, so
it is earned: the hub is started with large steps, five agents agree on a first task, and then the two honest ones alone
on others, until the trusts are those of the publication. Then the hub gets its usual steps, and the other three lie.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import httpx

from benchmarks.report import markdown_table
from crowdgrid import kernels
from crowdgrid.cli.demo.dishonest import Plan
from tests.e2e.grid import TOKEN, Grid, Process, until

HONEST: Final = ("ada", "ben")
LIARS: Final = ("cleo", "dan", "eva")
WORD, OVERLAP, THRESHOLD = "42", 5, 0.6
GB: Final = 1 << 30
WASM: Final = {"Content-Type": "application/wasm"}


@dataclass(frozen=True)
class Setting:
    """Trusts to be earned in steps of `step`: by all five once, by the honest `more` times again."""

    title: str
    step: float
    more: int
    required: float
    published: str


SETTINGS: Final = (
    Setting("trusts 7, 7, 3, 3, 3", 2.0, 2, 2.5, "14.0 : 9.0, 0.6087, shown 6.1"),
    Setting("trusts 9, 9, 1.5, 1.5, 1.5, required 2.5", 0.5, 15, 2.5, "three nodes below what is required"),
    Setting("trusts 9, 9, 1.5, 1.5, 1.5, required 1.5", 0.5, 15, 1.5, "18.0 : 4.5, 0.8"),
)


@dataclass(frozen=True)
class Found:
    """What came of a vote. Trusts in the order of the nodes' names."""

    before: dict[str, float]
    after: dict[str, float]
    state: str
    answer: str
    confidence: float
    why: list[str]


class Rest:
    """The hub as a submitter's script sees it."""

    def __init__(self, grid: Grid) -> None:
        self._http = httpx.Client(base_url=grid.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)

    def close(self) -> None:
        self._http.close()

    def do(self, method: str, path: str, **more: Any) -> Any:
        answer = self._http.request(method, path, **more)
        answer.raise_for_status()
        return answer.json() if answer.content else None

    def submit(self, overlap: int, required: float, name: str) -> str:
        program = self.do("PUT", "/v1/programs", content=kernels.path("echo").read_bytes(), headers=WASM)["digest"]
        job = {
            "program": program, "split": {"kind": "items", "piece": 1}, "args": [WORD], "name": name,
            "consensus": "trust_weighted", "overlap": overlap, "threshold": THRESHOLD, "min_trust": required,
            "milli_cpus": 1000, "memory_bytes": GB,
        }  # fmt: skip
        found: str = self.do("POST", "/v1/jobs", json=job)["id"]
        self.do("POST", f"/v1/jobs/{found}/items", json={"text": [""]})
        self.do("POST", f"/v1/jobs/{found}/seal")
        return found

    def wait(self, job: str) -> None:
        until(lambda: self.do("GET", f"/v1/jobs/{job}")["state"] in {"completed", "final"}, f"{job} is done")

    def trusts(self) -> dict[str, float]:
        return {node["name"]: round(node["trust"], 3) for node in self.do("GET", "/v1/nodes")["nodes"]}

    def why(self, thing: str) -> dict[str, Any]:
        found: dict[str, Any] = self.do("GET", f"/v1/why/{thing}")
        return found


def _start(grid: Grid, owner: str, plan: Plan | None) -> Process:
    return grid.start_agent(name=owner, invitation=grid.invite(owner), plan=plan, options=("--memory", "2GiB"))


def vote(setting: Setting, folder: Path) -> Found:
    """One vote, from the first start of the hub on."""
    with Grid(folder) as grid:
        grid.start_hub("--trust-up", str(setting.step))
        with closing(Rest(grid)) as rest:
            return _vote(setting, grid, rest)


def _vote(setting: Setting, grid: Grid, rest: Rest) -> Found:
    wake = grid.folder / "wake"
    for owner in HONEST:
        _start(grid, owner, None)
    liars = [_start(grid, owner, Plan(lie=1.0, wake=str(wake))) for owner in LIARS]
    grid.wait_online(OVERLAP)
    rest.wait(rest.submit(OVERLAP, 0.0, "all agree"))
    for liar in liars:
        liar.stop()
    for at in range(setting.more):
        rest.wait(rest.submit(len(HONEST), 0.0, f"two agree {at}"))
    grid.hub.stop()
    words = grid.hub.words
    del words[words.index("--trust-up") : words.index("--trust-up") + 2]
    grid.restart_hub()
    wake.touch()
    for liar in liars:
        liar.again()
    grid.wait_online(OVERLAP)
    before = rest.trusts()
    job = rest.submit(OVERLAP, setting.required, "the vote")
    if min(before.values()) < setting.required:
        until(lambda: rest.why(job)["reasons"], "the hub says why the job waits")
        return Found(before, rest.trusts(), "waits", "", 0.0, _told(rest.why(job)))
    rest.wait(job)
    task = rest.do("GET", f"/v1/jobs/{job}/tasks/0")
    answer = rest.do("GET", f"/v1/jobs/{job}/results")["results"][0]["answers"][0]["text"]
    return Found(before, rest.trusts(), "validated", answer, task["confidence"], _told(rest.why(task["id"])))


def _told(why: dict[str, Any]) -> list[str]:
    return [
        why["summary"],
        *(reason["text"] for reason in why["reasons"]),
        *(each["reasons"][0] for each in why["rejected"]),
    ]


def _row(setting: Setting, found: Found) -> list[str]:
    trusts = ", ".join(f"{found.before[name]:g}" for name in (*HONEST, *LIARS))
    if found.state == "waits":
        return [setting.title, trusts, f"{setting.required:g}", "it waits", "", "", setting.published]
    right = sum(found.before[name] for name in HONEST)
    wrong = sum(found.before[name] for name in LIARS)
    share = f"{found.confidence:.4f}, shown {10 * found.confidence:.1f}"
    arithmetic = f"{right:.1f} : {wrong:.1f}, {right:g}/{right + wrong:g} = {right / (right + wrong):.4f}"
    return [setting.title, trusts, f"{setting.required:g}", f"“{found.answer}”", arithmetic, share, setting.published]


def measure(*, quick: bool) -> list[str]:
    del quick  # it takes seconds
    rows, told = [], []
    with TemporaryDirectory(prefix="crowdgrid-vote-") as place:
        for at, setting in enumerate(SETTINGS):
            found = vote(setting, Path(place) / str(at))
            rows.append(_row(setting, found))
            if found.state == "waits":
                told += [
                    f"Where the job waits, `crowdgrid why` says: “{found.why[0]}”, and of three nodes: “{found.why[-3]}”."
                ]
            else:
                moved = ", ".join(
                    f"{name} {found.before[name]:g} → {found.after[name]:g}" for name in (*HONEST, *LIARS)
                )
                told += [f"Trusts after the vote, {setting.title}: {moved}."]
    head = ["", "earned", "required", "answer", "arithmetic", "share of trust, as told by the hub", "published"]
    return [markdown_table(head, rows), "\n".join(f"- {each}" for each in told)]
