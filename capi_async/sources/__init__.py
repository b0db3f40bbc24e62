"""Where conversions come from, when not from the application itself."""
