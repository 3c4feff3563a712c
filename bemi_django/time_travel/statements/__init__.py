"""Statements that are executed in the past: which tables and columns they name."""
