"""Questions to an archive in SQL."""
