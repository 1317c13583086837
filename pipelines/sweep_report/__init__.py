"""The report of a sweep: one page that needs nothing else, and answers to the pointer."""
