"""The servers of a queue: the connection to them, and the stream that they keep."""
