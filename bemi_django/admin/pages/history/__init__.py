"""The history page of an object: its changes, and its fields at any moment."""
