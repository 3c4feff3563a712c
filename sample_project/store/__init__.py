"""A shop whose log has two months of work by twenty people: the demo data of the audit view."""
