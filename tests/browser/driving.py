"""A headless Chromium that is driven as a person drives it: by mouse and keyboard, over its own protocol."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.browser.chromium import program

#: Seconds after which a browser that hangs is given up.
_PATIENCE_S = 40.0


class Tab:
    """One page.

    Attributes:
        complaints: What the page's console said of errors, a policy that was broken included.
        loaded: Addresses of all that was asked for.
    """

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.complaints: list[str] = []
        self.loaded: list[str] = []

    async def listen(self) -> None:
        """Read what the browser says, until it closes."""
        async for message in self._socket:
            said = json.loads(message.data)
            if "id" in said:
                self._waiting.pop(said["id"]).set_result(said)
            elif said["method"] == "Log.entryAdded":
                self.complaints.append(said["params"]["entry"]["text"])
            elif said["method"] == "Runtime.exceptionThrown":
                self.complaints.append(json.dumps(said["params"]["exceptionDetails"]))
            elif said["method"] == "Network.requestWillBeSent":
                self.loaded.append(said["params"]["request"]["url"])

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command; its result."""
        answer = await self._answer(method, params)
        assert "error" not in answer, (method, answer)
        return answer["result"]  # type: ignore[no-any-return]

    async def _answer(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        number = next(self._numbers)
        future = self._waiting[number] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": number, "method": method, "params": params})
        async with asyncio.timeout(_PATIENCE_S):
            answer: dict[str, Any] = await future
        return answer

    async def start(self) -> None:
        for domain in ("Page", "Runtime", "Log", "Network", "DOM"):
            await self.call(f"{domain}.enable")

    async def open(self, url: str) -> None:
        """Go there, and wait until the page is whole."""
        await self.call("Page.navigate", url=url)
        await self.until(f"location.href.split('#')[0] === {json.dumps(url)} && document.readyState === 'complete'")

    async def value(self, script: str) -> Any:
        """What an expression is in the page."""
        answer = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, (script, answer)
        return answer["result"].get("value")

    async def until(self, script: str) -> None:
        """Return once an expression is true in the page; a page that is being left is none yet."""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                while True:
                    answer = await self._answer("Runtime.evaluate", {"expression": script, "returnByValue": True})
                    # asked in the moment in which the page is left, it is an error
                    if answer.get("result", {}).get("result", {}).get("value"):
                        return
                    await asyncio.sleep(0.05)
        except TimeoutError:
            text = await self.value("document.body.innerText")
            raise AssertionError(f"{script} never came true; the page says: {text}") from None

    async def click(self, element: str) -> None:
        """Press the mouse on the element that an expression gives."""
        x, y = await self.value(
            f"(() => {{ const e = {element}; e.scrollIntoView({{block: 'center', behavior: 'instant'}});"
            " const r = e.getBoundingClientRect(); return [r.x + r.width / 2, r.y + r.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    async def press(self, key: str, code: int, text: str = "") -> None:
        """Press a key."""
        said = {"text": text} if text else {}
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code,
                **(said if kind == "keyDown" else {}),
            )  # fmt: skip

    async def type(self, text: str) -> None:
        """Write into what has the focus."""
        await self.call("Input.insertText", text=text)

    async def dark(self, wanted: bool) -> None:
        """The system's colours."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if wanted else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def width(self, pixels: int, *, height: int = 900) -> None:
        """Of the window."""
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=pixels, height=height, deviceScaleFactor=1, mobile=pixels < 600
        )

    async def picture(self) -> bytes:
        """What is seen, as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        return base64.b64decode(answer["data"])


@asynccontextmanager
async def browsing(profile: Path) -> AsyncIterator[Tab]:
    """A browser with one empty page; skipped, or failed, where there is none."""
    process = await asyncio.create_subprocess_exec(
        program(), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-extensions", "--disable-background-networking", "--disable-sync", f"--user-data-dir={profile}",
        "--remote-debugging-port=0", "about:blank",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stderr is not None
    drain = listening = None
    try:
        async with asyncio.timeout(_PATIENCE_S):
            said = b""
            while b"DevTools listening on " not in said:
                said = await process.stderr.readline()
                assert said, "the browser did not start"
        drain = asyncio.create_task(process.stderr.read())
        port = said.decode().split("127.0.0.1:")[1].split("/")[0]
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://127.0.0.1:{port}/json/list") as reply:
                pages = [one for one in await reply.json() if one["type"] == "page"]
            async with session.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                tab = Tab(socket)
                listening = asyncio.create_task(tab.listen())
                await tab.start()
                yield tab
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
        for task in (drain, listening):
            if task is not None:
                await asyncio.wait([task], timeout=5)
                task.cancel()
