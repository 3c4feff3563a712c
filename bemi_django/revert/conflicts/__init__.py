"""Find what prevents the steps of a plan, and which of them must come first."""
