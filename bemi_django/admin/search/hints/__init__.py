"""What a list offers beside its changes: objects with the searched name, and counts to filter by."""
