"""The hub's REST face: one module an audience, one table of endpoints (`table.py`) that routes and documents them."""
