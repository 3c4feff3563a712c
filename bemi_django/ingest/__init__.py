"""What runs in the worker: read the write-ahead log and write the table ``changes``."""
