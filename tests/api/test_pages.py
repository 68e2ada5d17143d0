"""The two pages a browser shows: words only, nothing that could run or be framed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.api.running import running


@pytest.mark.parametrize(("path", "words"), [("/", "crowdgrid login"), ("/join", "crowdgrid join")])
def test_a_page_says_what_to_type_and_runs_nothing(tmp_path: Path, path: str, words: str) -> None:
    """Both are readable without a token, name this hub's address, and their policy allows no script at all."""
    with running(tmp_path) as hub, hub.client() as admin:
        answer = admin.get(path, headers={"authorization": ""})
        assert answer.status_code == 200
        assert f"{words} {str(admin.base_url).rstrip('/')}" in answer.text
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-frame-options"] == "DENY"
        assert "<script" not in answer.text


def test_a_hostile_host_header_is_shown_as_text(tmp_path: Path) -> None:
    """What the page repeats of the request cannot become markup."""
    with running(tmp_path) as hub, hub.client() as admin:
        answer = admin.get("/join", headers={"host": "x<b>y"})
        assert "<b>y" not in answer.text
