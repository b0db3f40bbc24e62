"""A creator's videos and photo posts: upload, publish, and what became of it."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from capi_async.sandbox.checks import MB, words
from capi_async.sandbox.platforms.tiktok_shop.asking import Ask
from capi_async.sandbox.platforms.tiktok_shop.envelope import CONTENT_TYPE, FILE_SIZE, Failure, parameter

NOT_YOUR_VIDEO, UNKNOWN_FILE = 170001016, 98001004
MAX_FILE_BYTES = 10 * MB
MAX_VIDEO_TITLE_UNITS, MAX_LINK_TITLE, MAX_PHOTO_TITLE = 4_000, 30, 5_000
QUOTA = "3/day"

_VIDEOS = words("mp4 mov mkv wmv webm avi 3gp flv mpeg")
_PHOTOS = words("jpg jpeg png webp heic bmp")
_FILE_NAME = re.compile(rb'filename="([^"\r\n]*)"')
_FIELD_NAME = re.compile(rb'[ ;]name="([^"\r\n]*)"')


def upload_video_file(ask: Ask) -> dict[str, Any]:
    """``POST /affiliate_creator/202505/videos/video_files``; above 10 MB a chunked upload is asked for."""
    file_id, digest = _keep_file(ask, _VIDEOS)
    return {"video_file": {"id": file_id, "md5": digest}}


def upload_photo_file(ask: Ask) -> dict[str, Any]:
    """``POST /affiliate_creator/202511/photos/photo_files``; the answer's shape is that of two integrators' SDKs."""
    uri, _ = _keep_file(ask, _PHOTOS)
    return {"photo_file": {"photo_uri": uri}}


def publish_video(ask: Ask) -> dict[str, Any]:
    """``POST /affiliate_creator/202607/videos``: in process until its status has been asked for once."""
    info = _object(ask.body, "video_info")
    file_id, title = info.get("file_id"), info.get("title", "")
    if not isinstance(title, str) or len(title.encode("utf-16-le")) // 2 > MAX_VIDEO_TITLE_UNITS:
        raise parameter("body.video_info.title")
    if not isinstance(file_id, str) or file_id not in ask.world.files:
        raise Failure(UNKNOWN_FILE, "video_info.file_id is unknown")
    link = _object(ask.body, "product_link_info")
    product_id = _linked_product(ask, link, link.get("title", ""))
    shop_id = ask.world.products[product_id].shop_id
    video = ask.world.add_video(shop_id, title=title, status="PROCESSING", product_ids=[product_id])
    video["creator"] = ask.grant.owner
    return {"video": {"id": video["id"]}, "quota": QUOTA}


def video_status(ask: Ask) -> dict[str, Any]:
    """``GET /affiliate_creator/202509/videos/{video_id}/status``."""
    video = ask.world.videos.get(ask.parts["video_id"])
    if video is None or video.get("creator") != ask.grant.owner:
        raise Failure(NOT_YOUR_VIDEO, "the video does not belong to the creator")
    told = {"PROCESSING": "PROCESSING", "FAILED": "FAIL"}.get(video["status"], "SUCCESS")
    if video["status"] == "PROCESSING":
        video["status"] = "PUBLISHED"
    return {"video": {"id": video["id"], "post_status": told, "post_time": video["time"]}}


def publish_photos(ask: Ask) -> dict[str, Any]:
    """``POST /affiliate_creator/202607/photos``: a post of pictures."""
    photos = ask.body.get("photos_info")
    if isinstance(photos, dict):
        photos = [photos]
    if not isinstance(photos, list) or not photos or not all(isinstance(one, dict) for one in photos):
        raise parameter("body.photos_info", "is missing")
    # One text per picture, whatever the plural in its name says.
    uris = [one.get("photo_file_uris") for one in photos]
    if not uris or not all(isinstance(uri, str) and uri in ask.world.files for uri in uris):
        raise Failure(UNKNOWN_FILE, "photos_info.photo_file_uris holds an unknown file")
    title = ask.body.get("title", "")
    if not isinstance(title, str) or len(title) > MAX_PHOTO_TITLE:
        raise parameter("body.title")
    links = _object(ask.body, "link_info").get("links") or [] if ask.body.get("link_info") else []
    if not isinstance(links, list) or not all(isinstance(link, dict) for link in links):
        raise parameter("body.link_info.links")
    products = [_linked_product(ask, link, link.get("link_title", "")) for link in links]
    shop_id = ask.world.products[products[0]].shop_id if products else ask.shop.id
    post = ask.world.add_post(shop_id, content=title, media=uris, product_ids=products)
    return {"photo": {"photo_post_id": post["id"]}, "quota": QUOTA}


def _object(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if not isinstance(value, dict):
        raise parameter(f"body.{name}", "is missing")
    return value


def _linked_product(ask: Ask, link: dict[str, Any], title: object) -> str:
    product_id = link.get("product_id")
    if not isinstance(product_id, str) or product_id not in ask.world.products:
        raise parameter("body.product_id", "is unknown")
    if not isinstance(title, str) or len(title) >= MAX_LINK_TITLE:
        raise parameter("body.product_link_info.title", f"must be shorter than {MAX_LINK_TITLE}")
    return product_id


def _keep_file(ask: Ask, kinds: frozenset[str]) -> tuple[str, str]:
    name, content = _file_of(ask)
    if len(content) > MAX_FILE_BYTES:
        raise Failure(FILE_SIZE, "the file is larger than 10 MB; use the chunked upload")
    if not content or name.rpartition(".")[2].lower() not in kinds:
        raise Failure(CONTENT_TYPE, "the file is not of a supported type")
    file_id = ask.world.new_id("v09", 22)
    digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
    ask.world.files[file_id] = {"md5": digest, "bytes": len(content)}
    if len(ask.world.files) > 1_000:
        del ask.world.files[next(iter(ask.world.files))]
    return file_id, digest


def _file_of(ask: Ask) -> tuple[str, bytes]:
    """The file name and bytes of the form's field ``data``."""
    kind, _, rest = ask.content_type.partition(";")
    boundary = rest.partition("boundary=")[2].partition(";")[0].strip().strip('"')
    if kind.strip().lower() != "multipart/form-data" or not boundary:
        raise Failure(CONTENT_TYPE, "Content-Type must be multipart/form-data")
    for part in (b"\r\n" + ask.raw).split(b"\r\n--" + boundary.encode())[1:]:
        head, blank, content = part.partition(b"\r\n\r\n")
        field, file_name = _FIELD_NAME.search(head), _FILE_NAME.search(head)
        if blank and field and field[1] == b"data":
            return (file_name[1].decode("utf-8", "replace") if file_name else ""), content
    raise parameter("data", "is missing")
