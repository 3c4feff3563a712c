"""Regular expressions over what others have written."""
