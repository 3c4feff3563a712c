"""Changes as they are asked for: of one log, or of all destinations together."""
