"""Read records, and what they say."""
