"""Experiments: what crowdgrid claims, beside what others published, each one command. See `README.md`."""
