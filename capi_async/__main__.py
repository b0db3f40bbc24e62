"""``python -m capi_async`` is ``capi-async``."""

from capi_async.cli.main import main

main()
