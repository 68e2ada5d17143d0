"""The wire: messages, codec, signatures. The one place another language's client has to copy."""
