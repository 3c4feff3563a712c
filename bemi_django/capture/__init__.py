"""The part that runs in the application: it attaches the context to each statement that writes."""
