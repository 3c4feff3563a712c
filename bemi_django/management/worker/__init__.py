"""``bemi run`` and ``bemi skip``."""
