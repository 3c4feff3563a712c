"""Tamper evidence: the chains of the log, verified and anchored outside of the database."""
