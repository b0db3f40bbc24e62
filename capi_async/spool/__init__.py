"""Where accepted events wait: in memory, or on disk."""
