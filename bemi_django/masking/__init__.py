"""Rules about values that must not be kept, and what is kept instead of them."""
