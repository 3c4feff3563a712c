"""The activity page: how much was changed when, by whom and where."""
