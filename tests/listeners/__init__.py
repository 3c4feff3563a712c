"""An app whose handlers note each change, and do what the name of a category says."""
