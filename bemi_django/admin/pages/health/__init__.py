"""The health page: the worker, its sources, their tables and the throughput."""
