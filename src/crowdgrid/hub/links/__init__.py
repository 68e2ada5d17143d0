"""The two links: nodes that take work, clients that give it."""
