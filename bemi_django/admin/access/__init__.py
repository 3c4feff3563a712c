"""Decide what a viewer may see and do, and which models the log is about."""
