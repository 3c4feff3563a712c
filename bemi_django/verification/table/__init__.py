"""The tables that are compared, and their rows as the log prints them."""
