"""Run the worker: read, write, confirm, and try again after a failure."""
