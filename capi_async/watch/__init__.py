"""What a page may show of a client at work: recent events and their way, requests, counts. Off unless asked."""
