"""The changes of which something is erased, and whose they are."""
