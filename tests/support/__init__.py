"""What tests share: servers, harnesses, settings and data."""
