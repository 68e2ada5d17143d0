"""`python -m crowdgrid.cli` is the `crowdgrid` command."""

from crowdgrid.cli import main

main()
