"""One file a peer: how it is started, given a task, asked for the result, and ended.

Run with the peer's own Python as `python -m benchmarks.peers.adapters.NAME`; only the standard library and the peer.
"""
