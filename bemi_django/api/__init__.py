"""The log as JSON: the questions of the admin's pages, with their permissions, scope and masks."""
