"""What runs in the application: give each statement the context of who writes, and why."""
