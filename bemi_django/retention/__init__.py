"""What is kept of the log, and for how long; removing the rest; from when on the log is complete."""
