"""What the platform has no endpoint for, by an older, unversioned contract.

The platform has refused these paths since 2025. They are spoken to ``legacy_base_url`` only, for whoever runs something
that speaks them; without it they are refused before anything is sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import date
from typing import Any, Final

from msgspec import Struct, field

from capi_async.early import ready
from capi_async.sources.tiktok_shop import endpoints
from capi_async.sources.tiktok_shop.connection import Answer, Body
from capi_async.sources.tiktok_shop.endpoints import Endpoint, checked_id
from capi_async.sources.tiktok_shop.errors import TikTokShopNotFoundError, TikTokShopValidationError
from capi_async.sources.tiktok_shop.figures import Post, Published, Video
from capi_async.sources.tiktok_shop.models import Id, Paged
from capi_async.sources.tiktok_shop.operations.base import (
    Asking,
    Instant,
    any_of,
    as_instant,
    check_page,
    check_span,
    decode,
    epoch,
    every,
    json_body,
    query_text,
    text_within,
    unsupported,
)
from capi_async.spec import web_address

POST_STATUSES: Final = ("PUBLISHED", "DRAFT", "SCHEDULED")
_MAX_TITLE: Final = 150
_MAX_DESCRIPTION: Final = 1_000
_MAX_POST: Final = 2_000


class _OldVideo(Struct, frozen=True):
    """A video in the words of the older contract."""

    id: Id = field(default="", name="video_id")
    title: str = ""
    description: str = ""
    status: str = ""
    url: str = ""
    view_count: int = 0


@ready
class _OldVideos(Struct, frozen=True):
    videos: tuple[_OldVideo, ...] = ()
    total: int | None = None
    more: bool = False


@ready
class _OldPosts(Struct, frozen=True):
    posts: tuple[Post, ...] = ()
    total: int | None = None
    more: bool = False


@ready
class _OldMade(Struct, frozen=True):
    video_id: Id = ""
    post_id: Id = ""
    status: str = ""


class LegacyOperations(Asking):
    """Deleting videos; reading and deleting posts."""

    async def delete_video(self, video_id: str) -> None:
        """Delete a video. The platform has no such endpoint; older contract: ``DELETE /api/content/video/delete``.

        Raises:
            TikTokShopUnsupportedError: No ``legacy_base_url``; nothing was sent.
            TikTokShopNotFoundError: No such video.
            TikTokShopAPIError: As for every operation.
        """
        query = {"video_id": checked_id("video_id", video_id)}
        await self._old(endpoints.LEGACY_DELETE_VIDEO, "deletes videos", query)

    async def get_posts(
        self,
        page_size: int = 20,
        page_number: int = 1,
        post_status: str | None = None,
        start_time: Instant | None = None,
        end_time: Instant | None = None,
        *,
        page_token: str = "",
    ) -> Paged[Post]:
        """One page of posts. The platform has no such endpoint; older contract: ``GET /api/content/posts``.

        Args:
            page_size: 1 to 100.
            post_status: ``PUBLISHED``, ``DRAFT`` or ``SCHEDULED``.
            start_time, end_time: When it was made.
            page_token: From the page before; here it is the next page's number.

        Raises:
            TikTokShopUnsupportedError: No ``legacy_base_url``; nothing was sent.
            TikTokShopAPIError: As for every operation.
        """
        check_page(page_size, page_number, page_token)
        if post_status:
            any_of(post_status, "post_status", POST_STATUSES)
        number = _number(page_number, page_token)
        query = _old_list(page_size, number, start_time, end_time)
        answer = await self._old(endpoints.LEGACY_POSTS, "reads posts", {**query, "post_status": post_status})
        found = decode(answer, _OldPosts)
        return Paged(
            items=found.posts,
            next_page_token=str(number + 1) if found.more else "",
            total=found.total,
            request_id=answer.request_id,
        )

    def iter_posts(self, *, page_size: int = 100, **filters: Any) -> AsyncIterator[Post]:
        """All posts, page by page; arguments as :meth:`get_posts`."""
        return every(lambda token: self.get_posts(page_size=page_size, page_token=token, **filters))

    async def get_post(self, post_id: str) -> Post:
        """One post. The platform has no such endpoint; older contract: ``GET /api/content/post/detail``.

        Raises:
            TikTokShopUnsupportedError: No ``legacy_base_url``; nothing was sent.
            TikTokShopNotFoundError: No such post.
            TikTokShopAPIError: As for every operation.
        """
        query = {"post_id": checked_id("post_id", post_id)}
        answer = await self._old(endpoints.LEGACY_POST, "reads posts", query)
        post = decode(answer, Post)
        if not post.id:
            raise TikTokShopNotFoundError("no such post", request_id=answer.request_id)
        return post

    async def delete_post(self, post_id: str) -> None:
        """Delete a post. The platform has no such endpoint; older contract: ``DELETE /api/content/post/delete``.

        Raises:
            TikTokShopUnsupportedError: No ``legacy_base_url``; nothing was sent.
            TikTokShopNotFoundError: No such post.
            TikTokShopAPIError: As for every operation.
        """
        query = {"post_id": checked_id("post_id", post_id)}
        await self._old(endpoints.LEGACY_DELETE_POST, "deletes posts", query)

    async def _old(
        self, endpoint: Endpoint, what: str, query: Mapping[str, object] | None = None, body: Body | None = None
    ) -> Answer:
        if not self.legacy:
            raise unsupported(what, "set legacy_base_url if something of yours speaks the older contract")
        return await self._ask(endpoint, query=query_text(query or {}), body=body)

    async def _old_videos(
        self,
        page_size: int,
        page_number: int,
        page_token: str,
        video_status: str,
        start_time: Instant | date | None,
        end_time: Instant | date | None,
    ) -> Paged[Video]:
        number = _number(page_number, page_token)
        query = _old_list(page_size, number, as_instant(start_time), as_instant(end_time))
        answer = await self._old(
            endpoints.LEGACY_VIDEOS, "lists unpublished videos", {**query, "video_status": video_status}
        )
        found = decode(answer, _OldVideos)
        videos = [
            Video(
                id=str(one.id),
                title=one.title,
                description=one.description,
                status=one.status,
                url=one.url,
                views=one.view_count,
            )
            for one in found.videos
        ]
        return Paged(
            items=tuple(videos),
            next_page_token=str(number + 1) if found.more else "",
            total=found.total,
            request_id=answer.request_id,
        )

    async def _old_upload(
        self,
        video_url: str,
        title: str,
        description: str | None,
        product_ids: Sequence[str] | None,
        tags: Sequence[str] | None,
    ) -> Published:
        if web_address(video_url) is None:
            raise TikTokShopValidationError("video: bytes, a path object, or an http address as text")
        text_within("title", title, _MAX_TITLE)
        if description:
            text_within("description", description, _MAX_DESCRIPTION)
        body = json_body(
            {
                "video_url": video_url,
                "title": title,
                "description": description or None,
                "product_ids": list(product_ids) if product_ids else None,
                "tags": list(tags) if tags else None,
            }
        )
        if not self.legacy:
            raise unsupported(
                "fetches a video from an address",
                "give the file itself, with a creator's tokens, or set legacy_base_url if something of yours speaks "
                "the older contract",
            )
        answer = await self._ask(endpoints.LEGACY_UPLOAD_VIDEO, body=body)
        made = decode(answer, _OldMade)
        return Published(id=str(made.video_id), status=made.status)

    async def _old_post(
        self,
        content: str,
        media_urls: Sequence[str] | None,
        product_ids: Sequence[str] | None,
        tags: Sequence[str] | None,
        scheduled_time: Instant | None,
    ) -> Published:
        text_within("content", content, _MAX_POST)
        body = json_body(
            {
                "content": content,
                "media_urls": list(media_urls) if media_urls else None,
                "product_ids": list(product_ids) if product_ids else None,
                "tags": list(tags) if tags else None,
                "scheduled_time": epoch(scheduled_time, "scheduled_time"),
            }
        )
        answer = await self._old(endpoints.LEGACY_CREATE_POST, "publishes a post without photos", body=body)
        made = decode(answer, _OldMade)
        return Published(id=str(made.post_id), status=made.status)


def _old_list(page_size: int, number: int, start: Instant | None, end: Instant | None) -> dict[str, object]:
    first, last = epoch(start, "start_time"), epoch(end, "end_time")
    check_span(first, last)
    return {"page_size": page_size, "page_number": number, "start_time": first, "end_time": last}


def _number(page_number: int, page_token: str) -> int:
    if not page_token:
        return page_number
    if not (page_token.isascii() and page_token.isdigit() and int(page_token) > 1):
        raise TikTokShopValidationError("page_token: not one of this list")
    return int(page_token)
