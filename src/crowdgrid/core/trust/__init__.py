"""Whether results agree, and what a node's word is worth."""
