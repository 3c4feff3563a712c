"""Rows that belong to an object."""
