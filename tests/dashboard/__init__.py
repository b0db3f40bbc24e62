"""The page: what it shows, to whom, and what it does."""
