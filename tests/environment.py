"""This process's environment without anybody's real accounts: what a test starts must never reach them from here."""

from __future__ import annotations

import os

from capi_async.destinations import destination_class, installed_types


def clean_environment() -> dict[str, str]:
    """All variables but those that a destination, a mode or an SDK would read."""
    read = {name for type_ in installed_types() for names in destination_class(type_).env.values() for name in names}
    starts = {f"{name.partition('_')[0]}_" for name in read} | {f"{type_.upper()}_" for type_ in installed_types()}
    starts |= {"FB_", "FACEBOOK_", "GA_", "GA4_", "GOOGLE_", "LINKEDIN_", "CAPI_ASYNC_", "CAPI_WEBHOOK_"}
    return {name: value for name, value in os.environ.items() if not name.startswith(tuple(starts))}
