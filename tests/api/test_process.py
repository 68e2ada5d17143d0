"""The hub as a process: how it starts, what it says and writes, and how it ends."""

from __future__ import annotations

import datetime
import json
import os
import signal
import socket
import ssl
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from crowdgrid.errors import BadInput
from crowdgrid.hub.server import server_of
from crowdgrid.settings import HubSettings

SERVE = """
import json, os, sys
from crowdgrid.hub.app import serve
from crowdgrid.settings import HubSettings
sys.exit(serve(HubSettings(**json.loads(sys.argv[1]))))
"""


@contextmanager
def hub_process(folder: Path, **options: Any) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A hub in a process of its own on an inherited socket; ended if the test does not end it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        told = {"data": str(folder), "fd": listener.fileno()} | options
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, json.dumps(told)],
            pass_fds=[listener.fileno()],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        scheme = "https" if "tls_cert" in options else "http"
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}"
    try:
        yield process, url
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stderr):
            assert pipe is not None
            pipe.close()


def wait_ready(url: str, **options: Any) -> None:
    """The socket listens already, so the first answer is that of a hub that is ready."""
    answer = httpx.get(f"{url}/readyz", timeout=20, **options)
    assert answer.status_code == 200, answer.text


def test_the_first_start_makes_an_admin_token_and_the_second_keeps_it(tmp_path: Path) -> None:
    """Printed once, kept in a file only its owner can read, working; a later start makes none."""
    with hub_process(tmp_path) as (process, url):
        wait_ready(url)
        place = tmp_path / "admin-token"
        secret = place.read_text().strip()
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        me = httpx.get(f"{url}/v1/me", headers={"Authorization": f"Bearer {secret}"})
        assert me.json()["role"] == "admin"
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
        assert process.returncode == 0, said
        assert said.count(secret) == 1
        assert "this machine only" in said
    with hub_process(tmp_path, log="json") as (process, url):
        wait_ready(url)
        me = httpx.get(f"{url}/v1/me", headers={"Authorization": f"Bearer {secret}"})
        assert me.status_code == 200
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
        assert "Admin token" not in said
        lines = [json.loads(line) for line in said.splitlines()]
        assert [line["message"] for line in lines][-1] == "stopping"


def test_what_was_acknowledged_is_there_after_kill_9(tmp_path: Path) -> None:
    headers = {"Authorization": "Bearer cg_given-by-the-environment"}
    with hub_process(tmp_path, admin_token="cg_given-by-the-environment") as (process, url):
        wait_ready(url)
        made = httpx.post(f"{url}/v1/tokens", json={"name": "kept"}, headers=headers)
        process.kill()
        process.wait(10)
    assert not (tmp_path / "admin-token").exists()
    with hub_process(tmp_path) as (_, url):
        wait_ready(url)
        names = [token["name"] for token in httpx.get(f"{url}/v1/tokens", headers=headers).json()["tokens"]]
        assert names == ["first", "kept"]
        again = {"Authorization": f"Bearer {made.json()['secret']}"}
        assert httpx.get(f"{url}/v1/me", headers=again).status_code == 200


def test_a_hub_started_by_a_parent_ends_with_it(tmp_path: Path) -> None:
    """No hub is left behind by a notebook that was closed."""
    with hub_process(tmp_path, with_parent=True) as (process, url):
        wait_ready(url)
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(20) == 0


def test_the_second_hub_on_a_store_fences_the_first_off(tmp_path: Path) -> None:
    """Two hubs never write to one store: the older one ends with an error that says what happened."""
    headers = {"Authorization": "Bearer cg_given-by-the-environment"}
    token = "cg_given-by-the-environment"
    with hub_process(tmp_path, admin_token=token) as (first, url):
        wait_ready(url)
        with hub_process(tmp_path) as (_, newer):
            wait_ready(newer)
            refused = httpx.post(f"{url}/v1/tokens", json={}, headers=headers, timeout=20)
            assert refused.status_code == 503
            _, said = first.communicate(timeout=20)
            assert first.returncode != 0
            assert "Another hub has taken over" in said
            assert httpx.get(f"{newer}/v1/me", headers=headers).status_code == 200


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of 127.0.0.1 signed by itself, and its key."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a hub in a test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    cert, pem = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert, pem


def test_tls_is_1_2_at_least_and_1_3_when_both_can(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = map(str, certificate)
    with hub_process(tmp_path, tls_cert=cert, tls_key=key) as (_, url):
        trusting = ssl.create_default_context(cafile=cert)
        wait_ready(url, verify=trusting)
        assert "strict-transport-security" in httpx.get(f"{url}/healthz", verify=trusting).headers
        port = int(url.rpartition(":")[2])
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as raw,
            trusting.wrap_socket(raw, server_hostname="127.0.0.1") as secure,
        ):
            assert secure.version() == "TLSv1.3"
        old = ssl.create_default_context(cafile=cert)
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.minimum_version = ssl.TLSVersion.TLSv1_1
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with socket.create_connection(("127.0.0.1", port), timeout=10) as raw, pytest.raises(ssl.SSLError):
            old.wrap_socket(raw, server_hostname="127.0.0.1")


def test_a_certificate_that_cannot_be_used_is_refused_at_start(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, _ = certificate
    settings = HubSettings(tls_cert=str(cert), tls_key=str(tmp_path / "none.pem"))
    with pytest.raises(BadInput, match=r"none\.pem"):
        server_of(lambda: None, settings)


def test_a_start_does_not_load_what_it_does_not_need() -> None:
    """The database toolkit, the compiler and the figures' library would each cost a tenth of a second or more."""
    code = "import sys, crowdgrid.hub.app; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"sqlalchemy", "alembic", "wasmtime", "prometheus_client", "httpx", "rich"} & {*loaded}


def test_a_taken_port_is_said_with_what_to_do(tmp_path: Path) -> None:
    from crowdgrid.errors import Unavailable
    from crowdgrid.hub.server import listening_socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match="cannot listen") as refused:
            listening_socket(HubSettings(listen=f"127.0.0.1:{port}"))
    assert "--listen" in refused.value.hint
    with pytest.raises(BadInput, match="no socket"):
        listening_socket(HubSettings(fd=os.open(tmp_path, os.O_RDONLY)))


def test_time_to_ready_is_told(tmp_path: Path) -> None:
    """Not a limit, a figure to look at with -s: from exec to the first answer."""
    began = time.perf_counter()
    with hub_process(tmp_path) as (_, url):
        wait_ready(url)
        print(f"ready after {time.perf_counter() - began:.2f} s")
