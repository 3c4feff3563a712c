"""The one place where values of rows become what people read, on every page."""
