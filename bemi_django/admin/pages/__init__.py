"""The pages of the audit trail: one module per page, and what only that page needs."""
