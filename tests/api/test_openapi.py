"""The OpenAPI document tells the truth: it is committed as it is, valid, and the hub keeps what it promises."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema
import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from crowdgrid.hub.api.endpoints import ENDPOINTS, document_text
from crowdgrid.hub.api.openapi import document
from tests.api.running import ADMIN_TOKEN, ECHO, RunningHub, running


@schemathesis.serializer("application/wasm")
def as_bytes(ctx: Any, value: Any) -> bytes:
    """A program is sent as it is."""
    return value if isinstance(value, bytes) else str(value).encode()


COMMITTED = Path(__file__).parents[2] / "docs" / "openapi.json"
DOCUMENT = msgspec.json.decode(document_text())
# A stream of events has no end to wait for; test_events.py has it.
SCHEMA = schemathesis.openapi.from_dict(DOCUMENT, config=SchemathesisConfig.from_dict({})).exclude(
    operation_id="watch_events"
)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def test_the_committed_document_is_this_versions() -> None:
    """Clients in other languages are made from docs/openapi.json: a change of the API is a change of that file."""
    hint = "run: .venv/bin/python -m crowdgrid.hub.api.openapi > docs/openapi.json"
    assert COMMITTED.read_bytes() == document_text(), hint


def test_the_hub_serves_its_document_to_anybody(hub: RunningHub) -> None:
    assert httpx.get(f"{hub.url}/v1/openapi.json").content == document_text()


def test_every_endpoint_is_in_the_document_and_nothing_else() -> None:
    told = {(path, method) for path, methods in DOCUMENT["paths"].items() for method in methods}
    assert told == {(e.path.replace(":int", ""), e.method.lower()) for e in ENDPOINTS}


def test_every_schema_in_the_document_is_json_schema() -> None:
    for schema in document(ENDPOINTS)["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)


def test_every_operation_says_who_may_and_what_can_go_wrong() -> None:
    for path, methods in DOCUMENT["paths"].items():
        for told in methods.values():
            assert told["summary"], path
            assert "token" in told["description"] or "role" in told["description"]
            assert "500" in told["responses"]
            assert told.get("security") == [] or "401" in told["responses"]


# --- fuzzing ----------------------------------------------------------------------------------


class Fuzzed:
    """A hub to fuzz, with jobs in several states to be named."""

    def __init__(self, hub: RunningHub) -> None:
        self.url = hub.url
        with hub.client() as admin:
            self.own_token = admin.get("/v1/tokens").json()["tokens"][0]["number"]
            put = admin.put("/v1/programs", content=ECHO, headers={"Content-Type": "application/wasm"})
            self.program = put.json()["digest"]
            done = {"program": self.program, "split": {"kind": "range", "start": 0, "stop": 1}, "name": "done"}
            self.done = admin.post("/v1/jobs", json=done).json()["id"]
            node = hub.node("admin")
            node.work(b"1")
            items = {"program": self.program, "split": {"kind": "items"}, "name": "items"}
            self.open = admin.post("/v1/jobs", json=items).json()["id"]
            self.node = admin.get("/v1/nodes").json()["nodes"][0]["id"]

    def real(self, case: Any) -> dict[str, Any]:
        """The case's path parameters, but of things that are there."""
        job = self.done if case.operation.definition.raw["operationId"] == "show_answer" else self.open
        there = {"job": job, "ordinal": 0, "node": self.node, "thing": job, "digest": self.program}
        return {name: there.get(name, value) for name, value in case.path_parameters.items()}


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with running(tmp_path_factory.mktemp("fuzz")) as hub:
        yield Fuzzed(hub)


@SCHEMA.parametrize()
@settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
def test_whatever_is_sent_the_answer_is_one_of_those_promised(case: Any, fuzzed: Fuzzed) -> None:
    """No request makes the hub fail, and each answer has a status, type and shape the document names."""
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    operation = case.operation.definition.raw["operationId"]
    if operation == "revoke_token" and case.path_parameters.get("number") == fuzzed.own_token:
        return
    case.call_and_validate(base_url=fuzzed.url, headers=headers, checks=CHECKS)
    if case.path_parameters and operation != "put_blob":
        case.path_parameters = fuzzed.real(case)
        case.call_and_validate(base_url=fuzzed.url, headers=headers, checks=CHECKS)
