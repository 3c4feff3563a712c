"""What uninstalling does: remove what is installed, and find what is left."""
