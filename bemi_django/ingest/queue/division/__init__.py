"""The division of a queue among several destinations: what each lacks, and what it may not take."""
