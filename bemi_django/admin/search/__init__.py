"""Find the changes of a page: filters, search terms, paging and time limits."""
