"""The native node: takes leases from a hub, runs them in sandboxes, delivers signed results."""
