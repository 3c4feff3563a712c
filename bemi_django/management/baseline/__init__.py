"""``bemi baseline`` and what is done with it."""
