"""Personal data: normalising, hashing, and the reference tables that both need."""
