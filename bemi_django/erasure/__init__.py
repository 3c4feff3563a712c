"""Erase what the log has of a person, and keep what happened, when, and who did it."""
