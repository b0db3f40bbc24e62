"""``python -m capi_async.cli`` is ``capi-async``."""

from capi_async.cli.main import main

main()
