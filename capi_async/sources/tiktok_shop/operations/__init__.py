"""What can be asked of a shop, by subject. The client is made of these."""
