"""Names in the catalog of a database."""
