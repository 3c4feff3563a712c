"""Print rows as the stream of a slot has them."""
