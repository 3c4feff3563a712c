"""Read the log: address its rows, turn them into instances, and query them."""
