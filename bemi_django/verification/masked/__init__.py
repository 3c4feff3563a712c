"""Compare what a mask has left of values with the values of the table."""
