"""Values of chosen columns encrypted with a key per row or per person, so that they go when the key does."""
