"""Which grid an example runs on: this machine's own, or with --connect the one you are signed in to."""

import sys

import crowdgrid as cg


def grid() -> cg.Grid:
    return cg.connect() if "--connect" in sys.argv else cg.local()
