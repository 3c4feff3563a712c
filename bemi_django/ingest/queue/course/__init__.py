"""How the log of a source goes on after a gap or a promotion, in every destination."""
