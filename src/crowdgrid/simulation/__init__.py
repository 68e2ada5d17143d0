"""A seedable crowd around the production engine: the same `core.engine.Engine` under virtual time.

`world.World` runs a scenario; `crowdgrid simulate` is its terminal. See README.md for what is where.
"""
