"""Give a person what the log has of them."""
