"""crowdgrid beside others: `python -m benchmarks.peers` writes `docs/benchmarks-peers.md`.

Each peer runs in an environment of its own (`scripts/setup-peers`), driven by an adapter of a few lines that speaks one
line protocol; the loads, the clock and the accounts are the same for all. See the README.
"""
