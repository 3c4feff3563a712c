"""The contexts of changes as pages show them."""
