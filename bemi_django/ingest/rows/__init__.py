"""Turn decoded messages and their contexts into rows of ``changes``."""
