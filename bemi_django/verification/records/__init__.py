"""What runs have found, and what was accepted of it."""
