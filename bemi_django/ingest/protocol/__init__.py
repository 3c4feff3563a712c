"""Decode the messages of the logical replication protocol (PostgreSQL docs, 55.9); no input or output."""
