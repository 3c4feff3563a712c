"""Read rows of tracked tables as they are now, in the form that the log has them."""
