"""The messages of a queue: chunks of changes, and the values of a change."""
