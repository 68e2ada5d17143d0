"""The node's key and folder: made once, for this user's eyes only, and never guessed at."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from crowdgrid.agent import keys
from crowdgrid.errors import BadInput, NotAllowed, Unavailable
from crowdgrid.protocol.signing import public_bytes


def test_a_key_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    first = keys.load_or_create(tmp_path)
    assert stat.S_IMODE((tmp_path / keys.FILE_NAME).stat().st_mode) == 0o600
    assert public_bytes(keys.load_or_create(tmp_path)) == public_bytes(first)
    assert [path.name for path in tmp_path.iterdir()] == [keys.FILE_NAME]


def test_many_at_once_agree_on_one_key(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = {public_bytes(key) for key in threads.map(keys.load_or_create, [tmp_path] * 8)}
    assert len(found) == 1


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o622])
def test_a_key_others_could_have_copied_is_refused_with_advice(tmp_path: Path, mode: int) -> None:
    keys.load_or_create(tmp_path)
    (tmp_path / keys.FILE_NAME).chmod(mode)
    with pytest.raises(NotAllowed) as refused:
        keys.load_or_create(tmp_path)
    assert "chmod 600" in refused.value.hint


def test_what_is_no_ed25519_key_is_refused_and_kept(tmp_path: Path) -> None:
    """A damaged key is a lost identity: replacing it silently would hide that."""
    other = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    for data in (b"", b"not a key", other):
        path = tmp_path / keys.FILE_NAME
        path.write_bytes(data)
        path.chmod(0o600)
        with pytest.raises(BadInput, match="not an Ed25519 key"):
            keys.load_or_create(tmp_path)
        assert path.read_bytes() == data


def test_a_folder_is_made_for_this_user_only(tmp_path: Path) -> None:
    folder = keys.private_folder(tmp_path / "a" / "agent")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_folder_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(NotAllowed, match="others can write"):
        keys.private_folder(tmp_path)


def test_a_place_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unavailable, match="cannot be used"):
        keys.private_folder(tmp_path / "file" / "agent")
