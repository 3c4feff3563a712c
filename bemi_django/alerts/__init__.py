"""Alerts: people are told of changes by rules, which others make in the admin."""
