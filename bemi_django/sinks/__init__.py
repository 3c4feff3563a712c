"""What changes can be exported to: ``bemi run --to`` and ``BEMI_SINK``."""
