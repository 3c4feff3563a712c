"""The subcommands about what the log has of a person."""
