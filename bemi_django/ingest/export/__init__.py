"""Write changes to something else than the log: files and receivers, each with the position of its data."""
