"""A table that was dropped or emptied is rebuilt from the log into a new one."""
