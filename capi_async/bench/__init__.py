"""The harness behind ``capi-async bench``: capi_async, the SDKs it replaces and two floors, on the same events.

A sink process answers as each platform does and counts what arrives; every contender runs in a process of its own. The
modules that a peer's process imports (``child``, ``feed``, ``clockwork``, ``peers``) need msgspec only, so that its
figures hold nothing of ours.
"""
