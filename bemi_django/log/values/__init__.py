"""Values of any type in the form that the log has them."""
