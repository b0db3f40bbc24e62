"""Videos and posts.

The platform publishes them for creators only, with a creator's tokens, and tells their figures to shops. What it has no
endpoint for (deleting a video; reading and deleting posts) is spoken by the older contract to ``legacy_base_url``, if
one is set; without one it is refused before anything is sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import date
from typing import Any, Final, cast

from msgspec import Struct
from msgspec.structs import replace

from capi_async.early import ready
from capi_async.sources.tiktok_shop import endpoints
from capi_async.sources.tiktok_shop.connection import Answer
from capi_async.sources.tiktok_shop.endpoints import checked_id
from capi_async.sources.tiktok_shop.errors import TikTokShopServerError, TikTokShopValidationError
from capi_async.sources.tiktok_shop.figures import Performance, Published, Video, VideoStatus
from capi_async.sources.tiktok_shop.models import Id, Paged
from capi_async.sources.tiktok_shop.operations.base import (
    Instant,
    Listed,
    any_of,
    check_page,
    days,
    decode,
    every,
    json_body,
    page_of,
    query_text,
    text_within,
)
from capi_async.sources.tiktok_shop.operations.files import File, content_of, form
from capi_async.sources.tiktok_shop.operations.legacy import LegacyOperations

_MAX_CAPTION: Final = 4_000
_MAX_POST: Final = 5_000
#: The product's name on a video or a photo is shorter than 30.
_MAX_LINK_TITLE: Final = 29
VIDEO_STATUSES: Final = ("PUBLISHED", "DRAFT", "PROCESSING", "FAILED")


@ready
class _Videos(Listed, frozen=True):
    videos: tuple[Video, ...] = ()


@ready
class _Figures(Struct, frozen=True):
    performance: Performance = Performance()
    video_post_time: str = ""
    latest_available_date: str = ""


class _VideoFile(Struct, frozen=True):
    id: Id = ""


@ready
class _Uploaded(Struct, frozen=True):
    video_file: _VideoFile = _VideoFile()


class _PhotoFile(Struct, frozen=True):
    photo_uri: str = ""


@ready
class _UploadedPhoto(Struct, frozen=True):
    photo_file: _PhotoFile = _PhotoFile()


class _PublishedVideo(Struct, frozen=True):
    id: Id = ""


@ready
class _VideoHandedOver(Struct, frozen=True):
    video: _PublishedVideo = _PublishedVideo()
    quota: str = ""


class _PublishedPhotos(Struct, frozen=True):
    photo_post_id: Id = ""


@ready
class _PhotosHandedOver(Struct, frozen=True):
    photo: _PublishedPhotos = _PublishedPhotos()
    quota: str = ""


@ready
class _StatusOfVideo(Struct, frozen=True):
    video: VideoStatus = VideoStatus()


class ContentOperations(LegacyOperations):
    """Videos and posts."""

    async def get_videos(
        self,
        page_size: int = 20,
        page_number: int = 1,
        video_status: str | None = None,
        start_time: Instant | date | None = None,
        end_time: Instant | date | None = None,
        *,
        page_token: str = "",
        sort_field: str | None = None,
        sort_order: str | None = None,
        currency: str | None = None,
        account_type: str | None = None,
    ) -> Paged[Video]:
        """One page of published videos and what they sold. Official: ``GET /analytics/202409/shop_videos/performance``.

        Figures are a day old at best. Only published videos are in this list; others are known to the older contract
        alone (``GET /api/content/videos`` at ``legacy_base_url``).

        Args:
            page_size: 1 to 100.
            page_number: The platform knows tokens only; page *n* costs up to *n* calls.
            video_status: ``PUBLISHED`` (default); ``DRAFT``, ``PROCESSING`` and ``FAILED`` by the older contract.
            start_time, end_time: Of the figures: days, or instants that are widened to days of the shop's time zone;
                the end exclusive. Default: the last 28 days. Windows over 60 days are reported to fail.
            sort_field: ``gmv``, ``sku_orders``, ``units_sold``, ``views`` or ``click_through_rate``.
            currency: ``LOCAL`` or ``USD``.
            account_type: ``ALL``, ``LINKED_ACCOUNTS`` or ``AFFILIATES``.

        Raises:
            TikTokShopUnsupportedError: Unpublished videos, and no ``legacy_base_url``.
            TikTokShopAPIError: As for every operation.
        """
        check_page(page_size, page_number, page_token)
        if video_status and video_status != "PUBLISHED":
            any_of(video_status, "video_status", VIDEO_STATUSES)
            return await self._old_videos(page_size, page_number, page_token, video_status, start_time, end_time)
        first, last = days(start_time, end_time, self.time_zone, self.now())
        fixed = {
            "start_date_ge": first,
            "end_date_lt": last,
            "page_size": page_size,
            "sort_field": sort_field,
            "sort_order": sort_order,
            "currency": currency,
            "account_type": account_type,
        }

        async def fetch(token: str) -> Paged[Video]:
            answer = await self._ask(endpoints.VIDEOS, query=query_text({**fixed, "page_token": token}))
            found = decode(answer, _Videos)
            return page_of(found.videos, found, answer)

        if page_number == 1:
            return await fetch(page_token)
        return await self._pages.turn_to(("videos", *fixed.values()), page_number, fetch)

    def iter_videos(self, *, page_size: int = 100, **filters: Any) -> AsyncIterator[Video]:
        """All videos, page by page; arguments as :meth:`get_videos`."""
        return every(lambda token: self.get_videos(page_size=page_size, page_token=token, **filters))

    async def get_video(
        self,
        video_id: str,
        start_time: Instant | date | None = None,
        end_time: Instant | date | None = None,
        *,
        granularity: str | None = None,
        currency: str | None = None,
    ) -> Performance:
        """One video's figures. Official: ``GET /analytics/202409/shop_videos/{id}/performance``.

        Neither its title nor its address is told; :meth:`get_videos` knows the title.

        Args:
            start_time, end_time: As for :meth:`get_videos`.
            granularity: ``ALL`` (one interval) or ``1D`` (one per day).

        Raises:
            TikTokShopAuthError: The video is not this shop's, or there is none such.
            TikTokShopAPIError: As for every operation.
        """
        first, last = days(start_time, end_time, self.time_zone, self.now())
        query = {"start_date_ge": first, "end_date_lt": last, "granularity": granularity, "currency": currency}
        answer = await self._ask(endpoints.VIDEO, ids={"video_id": video_id}, query=query_text(query))
        found = decode(answer, _Figures)
        return replace(
            found.performance,
            id=video_id,
            video_post_time=found.performance.video_post_time or found.video_post_time,
            latest_available_date=found.performance.latest_available_date or found.latest_available_date,
        )

    async def upload_video(
        self,
        video: File | str | None = None,
        title: str = "",
        description: str | None = None,
        product_ids: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        *,
        video_url: str | None = None,
        product_title: str = "",
        cover_timestamp_ms: int | None = None,
        is_ai_generated: bool | None = None,
    ) -> Published:
        """Publish a video that sells one product. Official, with a creator's tokens: ``POST
        /affiliate_creator/202505/videos/video_files``, then ``POST /affiliate_creator/202607/videos``.

        Publishing takes a while: ask :meth:`get_video_status`. Neither step is repeated after a lost answer or a
        server error, because the video may have been published; the error's ``sent`` says so.

        A remote address, a description, tags or several products exist in the older contract only (``POST
        /api/content/video/upload`` at ``legacy_base_url``); giving an address chooses it.

        Args:
            video: Up to 10 MB, or the ``http`` address of a video.
            title: Up to 4,000 UTF-16 units (older contract: 150 characters).
            description: Older contract: up to 1,000 characters.
            product_ids: Exactly one, which the creator may sell (older contract: any number).
            video_url: Another name for the address of a video.
            product_title: The product's name on the video, under 30 characters.

        Raises:
            TikTokShopUnsupportedError: An address, and no ``legacy_base_url``; or a file over 10 MB.
            TikTokShopValidationError: No video, or two; or what stands above is not kept.
            TikTokShopAPIError: As for every operation.
        """
        if (video is None) == (video_url is None):
            raise TikTokShopValidationError("video: give the file (bytes or a path), or the address as video_url")
        if isinstance(source := video if video is not None else video_url, str):
            return await self._old_upload(source, title, description, product_ids, tags)
        video = cast("File", source)
        if description or tags:
            raise TikTokShopValidationError("TikTok Shop takes no description and no tags: write them into the title")
        text_within("title", title, _MAX_CAPTION)
        if product_ids is None or len(product_ids) != 1:
            raise TikTokShopValidationError("product_ids: TikTok Shop takes exactly one product per video")
        text_within("product_title", product_title, _MAX_LINK_TITLE)
        link = {"product_id": checked_id("product_ids", product_ids[0]), "title": product_title}
        answer = await self._ask(endpoints.VIDEO_FILE, body=form(await content_of(video), "video.mp4"))
        file_id = _present(str(decode(answer, _Uploaded).video_file.id), answer)
        info = {
            "file_id": file_id,
            "title": title,
            "cover_timestamp_ms": cover_timestamp_ms,
            "is_ai_generated": is_ai_generated,
        }
        info = {name: value for name, value in info.items() if value is not None}
        body = json_body({"video_info": info, "product_link_info": link})
        made = decode(await self._ask(endpoints.PUBLISH_VIDEO, body=body), _VideoHandedOver)
        return Published(id=str(made.video.id), quota=made.quota)

    async def get_video_status(self, video_id: str) -> VideoStatus:
        """What became of a video that was handed over. Official, with a creator's tokens:
        ``GET /affiliate_creator/202509/videos/{id}/status``.

        Raises:
            TikTokShopAPIError: As for every operation.
        """
        answer = await self._ask(endpoints.VIDEO_STATUS, ids={"video_id": video_id})
        return decode(answer, _StatusOfVideo).video

    async def create_post(
        self,
        content: str,
        media_urls: Sequence[str] | None = None,
        product_ids: Sequence[str] | None = None,
        tags: Sequence[str] | None = None,
        scheduled_time: Instant | None = None,
        *,
        photos: Sequence[File] | None = None,
        product_title: str = "",
    ) -> Published:
        """Publish a post. With ``photos``, official, with a creator's tokens: ``POST
        /affiliate_creator/202511/photos/photo_files`` for each, then ``POST /affiliate_creator/202607/photos``.
        Without, the platform has no such endpoint; older contract: ``POST /api/content/post/create``.

        Nothing is repeated after an answer that was lost or a server error, because the post may have been published.

        Args:
            content: Its text, up to 5,000 UTF-16 units (older contract: 2,000 characters).
            media_urls, tags, scheduled_time: Older contract only.
            product_ids: With photos: none or one.
            photos: JPG, PNG, WEBP, HEIC or BMP, up to 10 MB each.
            product_title: The product's name on the photos, under 30 characters.

        Raises:
            TikTokShopUnsupportedError: No photos, and no ``legacy_base_url``; nothing was sent.
            TikTokShopAPIError: As for every operation.
        """
        if not photos:
            return await self._old_post(content, media_urls, product_ids, tags, scheduled_time)
        if media_urls or tags or scheduled_time is not None:
            raise TikTokShopValidationError(
                "with photos TikTok Shop takes no media_urls, no tags (write them into the content) and no schedule"
            )
        text_within("content", content, _MAX_POST)
        link: dict[str, object] | None = None
        if product_ids:
            if len(product_ids) != 1:
                raise TikTokShopValidationError("product_ids: TikTok Shop takes one product per post")
            text_within("product_title", product_title, _MAX_LINK_TITLE)
            product = checked_id("product_ids", product_ids[0])
            link = {"post_type": "1", "links": [{"product_id": product, "link_title": product_title}]}
        # all files are read before the first is sent: a missing one should leave nothing behind
        forms = [form(await content_of(photo), "photo.jpg") for photo in photos]
        addresses = []
        for one in forms:
            answer = await self._ask(endpoints.PHOTO_FILE, body=one)
            addresses.append(_present(decode(answer, _UploadedPhoto).photo_file.photo_uri, answer))
        body = {
            "photos_info": [{"photo_file_uris": address} for address in addresses],
            "title": content,
            "link_info": link,
        }
        made = decode(await self._ask(endpoints.PUBLISH_PHOTOS, body=json_body(body)), _PhotosHandedOver)
        return Published(id=str(made.photo.photo_post_id), quota=made.quota)


def _present(made: str, answer: Answer) -> str:
    """What an upload is called from now on.

    Raises:
        TikTokShopServerError: The platform did not say.
    """
    if not made:
        raise TikTokShopServerError("the upload was taken and not named", request_id=answer.request_id)
    return made
