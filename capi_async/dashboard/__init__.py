"""A page to look at: how every destination does, what became of recent events, and what to do about dead letters.

``capi-async dashboard SPOOL`` serves it for a durable spool;
``capi_async.integrations.asgi.dashboard(client)`` mounts it into an application.
"""
