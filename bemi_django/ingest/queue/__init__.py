"""NATS JetStream between the worker that reads a slot and the consumers that write the log."""
