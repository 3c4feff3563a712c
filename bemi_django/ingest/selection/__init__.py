"""Decide which columns and which changes are recorded."""
