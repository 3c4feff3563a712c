"""The logs of a list: one, or all destinations side by side."""
