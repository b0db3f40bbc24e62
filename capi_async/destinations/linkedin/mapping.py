"""From canonical fields to the objects of a LinkedIn event: person and value. All pure.

What ``Event.linkedin`` holds is read here, not laid in at a place of its own: ids stand in a list with the others, and
company and title need names beside them.
"""

from __future__ import annotations

from capi_async.destinations.cart import amount_text
from capi_async.destinations.linkedin.versions import ANDROID
from capi_async.destinations.linkedin.wire import LinkedInId, LinkedInInfo, LinkedInUser, LinkedInValue
from capi_async.event import Event
from capi_async.pii.identifiers import Identifiers


def user_of(event: Event, ids: Identifiers, warnings: list[str], *, profile: bool, version: str) -> LinkedInUser:
    """``user``.

    Args:
        profile: Whether the person's names may leave in clear.
        version: Of the API, which knows some ids since a while only.
    """
    own = event.linkedin
    return LinkedInUser(
        _ids(event, ids, warnings, version),
        _info(event, ids, warnings, profile=profile),
        _external(ids, warnings),
        None if own is None else own.lead,
    )


def _ids(event: Event, ids: Identifiers, warnings: list[str], version: str) -> list[LinkedInId]:
    found = []
    if emails := ids.email:
        if len(emails) > 1:
            warnings.append(f"user.email: LinkedIn takes one value; the first of {len(emails)} was sent")
        found.append(LinkedInId("SHA256_EMAIL", emails[0]))
    if (click := event.click.li_fat_id) is not None:
        found.append(LinkedInId("LINKEDIN_FIRST_PARTY_ADS_TRACKING_UUID", click))
    if (address := ids.ip) is not None:
        if ":" not in address:  # what is here was read as an address
            found.append(LinkedInId("PLAINTEXT_IP_ADDRESS", address))
        else:
            warnings.append("user.ip: LinkedIn takes IPv4 addresses only; left out")
    if (mobile := ids.mobile_ad_id_clear) is not None:
        if event.device is None or event.device.os != "android":
            warnings.append("user.mobile_ad_id: left out; LinkedIn takes those of Android, which device.os must say")
        elif version < ANDROID:
            warnings.append(f"user.mobile_ad_id: left out; LinkedIn takes it from api_version {ANDROID} on")
        else:
            found.append(LinkedInId("GOOGLE_AID", mobile))
    if (own := event.linkedin) is not None:
        if own.acxiom_id is not None:
            found.append(LinkedInId("ACXIOM_ID", own.acxiom_id))
        if own.oracle_moat_id is not None:
            found.append(LinkedInId("ORACLE_MOAT_ID", own.oracle_moat_id))
    return found


def _info(event: Event, ids: Identifiers, warnings: list[str], *, profile: bool) -> LinkedInInfo | None:
    first, last, own, country = ids.first_name_clear, ids.last_name_clear, event.linkedin, ids.country_clear
    company, title = (None, None) if own is None else (own.company_name, own.title)
    if not profile or first is None or last is None:
        if profile and (first is not None or last is not None):
            warnings.append("user.first_name, user.last_name: LinkedIn takes both or neither; left out")
        if company is not None or title is not None:
            warnings.append(
                "linkedin.company_name, linkedin.title: LinkedIn takes them beside first and last name, which need "
                "send_profile=True on the destination; left out"
            )
        return None
    return LinkedInInfo(first, last, company, title, None if country is None else country.upper())


def _external(ids: Identifiers, warnings: list[str]) -> list[str] | None:
    own = ids.external_id_clear
    if own is None:
        return None
    if "@" in own:
        warnings.append("user.external_id: looks like an e-mail address, which would leave in clear; left out")
        return None
    return [own]


def value_of(event: Event, warnings: list[str]) -> LinkedInValue | None:
    """``conversionValue``, which has both of its parts or is left out."""
    value, currency = event.value, event.currency
    if value is None or currency is None:
        if value is not None or currency is not None:
            absent = "value" if value is None else "currency"
            warnings.append(f"{absent}: LinkedIn takes value and currency together; neither was sent")
        return None
    return LinkedInValue(currency, amount_text(value))
