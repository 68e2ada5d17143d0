"""`python -m crowdgrid.protocol.contract FOLDER [--release]`: write the contract; with `--release` the baseline, too."""

from __future__ import annotations

import argparse
from pathlib import Path

from crowdgrid.protocol.contract import BASELINE, baseline, files


def main() -> None:
    """Write the files of this version into a folder."""
    parser = argparse.ArgumentParser(prog="python -m crowdgrid.protocol.contract", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write")
    parser.add_argument("--release", action="store_true", help=f"also {BASELINE}: this version is what others rely on")
    told = parser.parse_args()
    for name, content in (files() | ({BASELINE: baseline()} if told.release else {})).items():
        (told.folder / name).write_bytes(content)


if __name__ == "__main__":
    main()
