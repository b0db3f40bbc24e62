"""The command line: ``capi-async send | explain | sandbox``. Needs the extra ``cli``."""
