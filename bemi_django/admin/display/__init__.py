"""Show changes to people: labels, differences, charts and SQL."""
