"""Consent as consent tools store it: TC strings, GPP strings, US Privacy, and Google's Consent Mode.

settings = ContextSettings(
    consent=ConsentReader(region="cf-ipcountry", absent={"EEA": "denied", "*": "unknown"}),
    require_consent=True,
)
"""

from __future__ import annotations

from capi_async.consent.google import consent_of_google
from capi_async.consent.gpp import consent_of_gpp, read_gpp, us_privacy
from capi_async.consent.reader import EEA, ConsentReader, strictest
from capi_async.consent.tcf import PURPOSES, VENDORS, TcString, consent_of_tcf, read_tcf

__all__ = [
    "EEA",
    "PURPOSES",
    "VENDORS",
    "ConsentReader",
    "TcString",
    "consent_of_google",
    "consent_of_gpp",
    "consent_of_tcf",
    "read_gpp",
    "read_tcf",
    "strictest",
    "us_privacy",
]
