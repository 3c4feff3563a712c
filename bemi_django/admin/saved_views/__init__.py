"""Filters of the list that users save under a name, for themselves or for all who may see the log."""
