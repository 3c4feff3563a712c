"""Turn changes into rows of ``changes``."""
