"""Give each row the context of its statement."""
