"""Sources of a queue: how a log of one begins, and those that cannot be written."""
