"""Template tags for one's own pages: ``{% load audit %}``."""
