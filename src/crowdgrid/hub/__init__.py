"""The hub: performs the engine's effects against a store, blobs and sockets, and is its face to people and tools."""
