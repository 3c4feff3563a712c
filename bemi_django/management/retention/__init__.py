"""The subcommands that remove changes from the log."""
