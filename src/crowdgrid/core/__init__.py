"""The engine: every decision of the grid, pure and deterministic, with no I/O."""
