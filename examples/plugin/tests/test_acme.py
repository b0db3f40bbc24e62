"""What every destination promises, proven for Acme: run pytest where the package is installed."""

from capi_async.testing.conformance import Conformance


class TestAcme(Conformance):
    destination = "acme"
    sends_properties = False
