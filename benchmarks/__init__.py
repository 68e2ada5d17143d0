"""What crowdgrid costs, measured: `python -m benchmarks [NAME …] [--quick]` writes `docs/benchmarks.md`.

Every measurement runs what users run: `crowdgrid hub`, `crowdgrid agent run` and a client, each in a process of its
own, signed, and durable on a disk. Nothing is mocked. See the README.
"""
