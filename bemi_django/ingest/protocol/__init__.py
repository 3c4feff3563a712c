"""Decode the messages of the logical replication protocol (PostgreSQL docs, 55.9), sans-IO."""
