"""Rows that are older than the log are recorded as they are, while the tables are written."""
