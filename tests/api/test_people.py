"""Tokens and invitations: secrets shown once, roles that cannot be raised, ends that are final."""

from __future__ import annotations

import httpx
import pytest

from crowdgrid.errors import NotAllowed
from crowdgrid.hub.version import version
from tests.api.running import RunningHub
from tests.api.test_jobs import refusal


def test_a_token_works_until_it_is_revoked(hub: RunningHub, person: httpx.Client, owner: str) -> None:
    """The secret is in the answer to its creation and never again; revoking it closes every door at once."""
    made = person.post("/v1/tokens", json={"role": "reader", "name": "dashboard"}).json()
    secret = made["secret"]
    with httpx.Client(base_url=hub.url, headers={"Authorization": f"Bearer {secret}"}) as dashboard:
        assert dashboard.get("/v1/me").json() == {
            "owner": owner,
            "role": "reader",
            "token": "dashboard",
            "grid": hub.hub.keeper.grid.grid_id.hex(),
            "version": version(),
        }
        listed = person.get("/v1/tokens")
        assert secret not in listed.text
        assert "secret" not in listed.text.replace("secrets", "")
        number = made["token"]["number"]
        assert number in [token["number"] for token in listed.json()["tokens"]]
        assert person.post(f"/v1/tokens/{number}/revoke").json()["revoked_at"] > 0
        refusal(dashboard.get("/v1/me"), 401, "not_signed_in")
        again = person.post(f"/v1/tokens/{number}/revoke")
        assert again.status_code == 200


def test_nobody_gives_away_more_than_they_have(person: httpx.Client, admin: httpx.Client, owner: str) -> None:
    """A submitter makes no admin and nobody else's token; an admin may do both."""
    refusal(person.post("/v1/tokens", json={"role": "admin"}), 403, "not_allowed", "admin")
    refusal(person.post("/v1/tokens", json={"owner": "bob"}), 403, "not_allowed", "somebody else")
    made = admin.post("/v1/tokens", json={"role": "submitter", "owner": owner}).json()
    assert made["token"]["owner"] == owner
    refusal(person.post(f"/v1/tokens/{10**9}/revoke"), 404, "not_found")
    others = admin.post("/v1/tokens", json={"owner": "bob"}).json()["token"]["number"]
    refusal(person.post(f"/v1/tokens/{others}/revoke"), 404, "not_found")


def test_an_expired_token_opens_nothing(hub: RunningHub, person: httpx.Client) -> None:
    made = person.post("/v1/tokens", json={"expires_in": 0.001}).json()
    headers = {"Authorization": f"Bearer {made['secret']}"}
    while hub.hub.keeper.now() <= made["token"]["expires_at"]:
        pass
    with httpx.Client(base_url=hub.url, headers=headers) as late:
        refusal(late.get("/v1/me"), 401, "not_signed_in")


@pytest.mark.parametrize("body", [{"role": "king"}, {"expires_in": -1}, {"name": "x" * 201}, {"number": 7}])
def test_a_token_that_makes_no_sense_is_refused(person: httpx.Client, body: dict[str, object]) -> None:
    refusal(person.post("/v1/tokens", json=body), 400, "bad_input")


def test_an_invitation_lets_in_as_many_as_it_says(hub: RunningHub, person: httpx.Client, owner: str) -> None:
    """Uses are counted before the join is committed, so two nodes cannot share the last one; a failed join gives it back."""
    made = person.post("/v1/invitations", json={"uses": 2, "group": "lab"}).json()
    code = made["code"]
    assert code not in person.get("/v1/invitations").text
    access = hub.hub.access
    taken = access.take_invitation(code)
    assert (taken.owner, taken.group, taken.uses_left) == (owner, "lab", 1)
    access.return_invitation(taken)
    assert [access.take_invitation(code).uses_left for _ in range(2)] == [1, 0]
    with pytest.raises(NotAllowed, match="used up"):
        access.take_invitation(code)


def test_a_revoked_invitation_is_of_no_use(hub: RunningHub, person: httpx.Client) -> None:
    made = person.post("/v1/invitations", json={}).json()
    number = made["invitation"]["number"]
    assert person.post(f"/v1/invitations/{number}/revoke").json()["revoked_at"] > 0
    with pytest.raises(NotAllowed, match="not known"):
        hub.hub.access.take_invitation(made["code"])
    refusal(person.post(f"/v1/invitations/{10**9}/revoke"), 404, "not_found")


def test_pages_of_tokens_end(person: httpx.Client) -> None:
    """Following `next` shows each of one's tokens once."""
    made = [person.post("/v1/tokens", json={}).json()["token"]["number"] for _ in range(4)]
    seen: list[int] = []
    after = 0
    while True:
        page = person.get("/v1/tokens", params={"limit": 2, "after": after}).json()
        seen += [token["number"] for token in page["tokens"]]
        if "next" not in page:
            break
        after = page["next"]
    assert seen[-4:] == made
    assert len(seen) == len({*seen})
