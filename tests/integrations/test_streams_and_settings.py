"""Django and Flask in this process: streams, wrong settings, and requests of a process that is frozen between them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from types import ModuleType
from typing import Any

import pytest

from capi_async import Client, ConfigError, SyncClient
from capi_async.testing import Recorder
from tests.context import django_project
from tests.engine.acme import Acme
from tests.engine.threaded_server import ThreadedServer


@pytest.fixture
def server() -> Iterator[ThreadedServer]:
    """Acme's side."""
    started = ThreadedServer().start()
    yield started
    started.stop()


@pytest.fixture
def serverless(server: ThreadedServer) -> Iterator[SyncClient]:
    """A client whose requests end with the web request that handed something in."""
    with SyncClient([Acme(base_url=server.url)], profile="serverless") as client:
        yield client


@pytest.fixture
def django() -> ModuleType:
    """Django with the tests' project."""
    django_project.configure()
    import django

    return django


def urls() -> ModuleType:
    """Views of both kinds, and streams of both kinds."""
    from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
    from django.urls import path

    def page(request: HttpRequest) -> HttpResponse:
        request.capi.track("page_view", event_id="page")  # type: ignore[attr-defined]
        return HttpResponse("<p>Hello</p>")

    def stream(request: HttpRequest) -> StreamingHttpResponse:
        def parts() -> Iterator[bytes]:
            yield b"a"
            request.capi.track("page_view", event_id="streamed")  # type: ignore[attr-defined]
            yield b"b"

        return StreamingHttpResponse(parts())

    async def async_stream(request: HttpRequest) -> StreamingHttpResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"a"
            await request.capi.asend("page_view", event_id="streamed")  # type: ignore[attr-defined]
            yield b"b"

        return StreamingHttpResponse(parts())

    def fails(request: HttpRequest) -> HttpResponse:
        request.capi.track("page_view", event_id="failed")  # type: ignore[attr-defined]
        raise ValueError("after track")

    module = ModuleType("tests_urls")
    module.urlpatterns = [  # type: ignore[attr-defined]
        path("page", page),
        path("stream", stream),
        path("async-stream", async_stream),
        path("fails", fails),
    ]
    return module


def site(**settings: Any) -> Any:
    """The project with our middleware and these settings."""
    from django.test import override_settings

    ours = {"ROOT_URLCONF": urls(), "MIDDLEWARE": ["capi_async.integrations.django.CapiMiddleware"]}
    return override_settings(ALLOWED_HOSTS=["*"], **ours, **settings)


@pytest.mark.parametrize(("path", "sent"), [("/page", "page"), ("/stream", "streamed"), ("/fails", "failed")])
def test_a_frozen_django_has_sent_what_a_request_handed_in(
    django: ModuleType, server: ThreadedServer, serverless: SyncClient, path: str, sent: str
) -> None:
    """Before the request is over, and of a stream what it handed in while it was given."""
    from django.test import Client as Browser

    with site(CAPI_CLIENT=serverless):
        response = Browser(raise_request_exception=False).get(path)
        b"".join(response)  # type: ignore[arg-type]
        response.close()
        assert server.ids == [sent]


async def test_an_async_stream_of_django_sends_and_has_its_cookie(django: ModuleType, capi_recorder: Recorder) -> None:
    """The cookies go with the start of the response; the event that a part of it sent is accepted."""
    from django.test import AsyncClient as Browser

    with site(CAPI_CLIENT=capi_recorder.sync_client):
        response = await Browser().get("/async-stream")
        assert b"".join([part async for part in response]) == b"ab"  # type: ignore[attr-defined]
        assert "_fbp" in response.cookies
        assert capi_recorder.sent("page_view", event_id="streamed")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"CAPI_CLIENT": "no.such.module"}, "CAPI_CLIENT: No module named 'no'"),
        ({"CAPI_CLIENT": 7}, "needs a SyncClient or Client, or a function that makes one, not int"),
        ({"CAPI_CLIENT": dict}, "needs a SyncClient or Client, or a function that makes one, not dict"),
        ({"CAPI_CONTEXT": "json.dumps"}, "CAPI_CONTEXT: needs a ContextSettings, not function"),
        ({"CAPI_TRUSTED_PROXIES": -1}, "trusted_proxies"),
        ({"CAPI_TRUSTED_PROXIES": "everybody"}, "trusted_proxies"),
    ],
)
def test_a_wrong_setting_of_django_is_named_before_the_first_request(
    django: ModuleType, settings: dict[str, Any], words: str
) -> None:
    """When the server loads the application, not when the first order comes."""
    from django.core.handlers.wsgi import WSGIHandler

    with site(**{"CAPI_CLIENT": client_of_nobody, **settings}), pytest.raises(ConfigError) as caught:
        WSGIHandler()
    assert words in str(caught.value)


def client_of_nobody() -> Client:
    """For settings that are about something else."""
    return Client([Acme(base_url="http://127.0.0.1:9")])


def test_a_frozen_flask_has_sent_what_a_request_handed_in(server: ThreadedServer, serverless: SyncClient) -> None:
    """Also of a stream, whose parts are given after the view has returned."""
    flask = pytest.importorskip("flask", reason="flask is not installed: pip install 'capi_async[test]'")
    from capi_async.integrations.flask import Capi, capi

    app = flask.Flask("shop")
    Capi(app, serverless)

    @app.get("/page")  # type: ignore[untyped-decorator]
    def page() -> str:
        capi.track("page_view", event_id="page")
        return "<p>Hello</p>"

    @app.get("/stream")  # type: ignore[untyped-decorator]
    def stream() -> Any:
        def parts() -> Iterator[str]:
            yield "a"
            capi.track("page_view", event_id="streamed")
            yield "b"

        return flask.Response(flask.stream_with_context(parts()))

    browser = app.test_client()
    with browser.get("/page"):
        pass
    assert server.ids == ["page"]
    with browser.get("/stream") as response:
        assert response.data == b"ab"
    assert server.ids == ["page", "streamed"]


def test_flask_with_a_wrong_client_says_what_it_needs() -> None:
    """At once for what can be neither, and with the first use for a function that gives something else."""
    flask = pytest.importorskip("flask", reason="flask is not installed: pip install 'capi_async[test]'")
    from capi_async.integrations.flask import Capi, capi

    with pytest.raises(ConfigError, match="not int"):
        Capi(flask.Flask("shop"), 7)  # type: ignore[arg-type]
    app = flask.Flask("shop")
    Capi(app, dict)  # type: ignore[arg-type]
    with app.test_request_context("/"), pytest.raises(ConfigError, match="not dict"):
        capi.track("page_view")
