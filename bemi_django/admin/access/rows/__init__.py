"""The rows that a user may see and write, and their values."""
