"""Compare the log with the tables that it records."""
