"""Values of settings that nothing may print."""
