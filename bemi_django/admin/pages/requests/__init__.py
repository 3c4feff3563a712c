"""The pages of requests, transactions, and runs of tasks and commands."""
