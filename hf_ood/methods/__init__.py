"""Methods, each a dataclass in a file of its own."""
