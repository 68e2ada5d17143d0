"""The guide is true: its blocks of Python are run in order, as a reader would."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

GUIDE: Final = Path(__file__).parents[3] / "docs" / "python.md"


def test_every_block_of_the_guide_to_python_runs(tmp_path: Path) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 7
    script = tmp_path / "guide.py"
    script.write_text("\n".join(blocks))
    environ = {name: value for name, value in os.environ.items() if not name.startswith("CROWDGRID_")}
    environ["XDG_CONFIG_HOME"] = str(tmp_path)  # nobody is signed in
    done = subprocess.run([sys.executable, str(script)], env=environ, capture_output=True, text=True, timeout=110)
    assert (done.returncode, done.stderr) == (0, "")
