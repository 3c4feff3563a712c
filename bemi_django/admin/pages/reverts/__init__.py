"""The page of a revert: its plan, what of it is chosen, and its execution."""
