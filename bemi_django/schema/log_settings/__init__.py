"""What the settings say about the log: its indexes, and whether its rows may be changed."""
