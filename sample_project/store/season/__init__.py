"""Sixty days of the shop: what visitors, staff, tasks, commands and administrators do in them."""
