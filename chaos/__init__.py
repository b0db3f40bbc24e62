"""What is done to the package by force. Not part of it."""
