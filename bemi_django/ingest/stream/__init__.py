"""Open the replication stream, and find where the log and the slot meet."""
