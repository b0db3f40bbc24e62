"""What the pages of this package share: markup that escapes by default, a stylesheet, a script, and who may ask."""
