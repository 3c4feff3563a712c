"""The page on which a moment is chosen, as of which the whole site is shown."""
