"""Erasure in the files of an archive."""
