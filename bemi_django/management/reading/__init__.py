"""The commands that read the log or the past, of which the log says who has run them."""
