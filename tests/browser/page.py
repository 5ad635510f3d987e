"""The page as a test sees it: what it complains about, what it measures, and how to wait for it.

`evaluate` goes past the page's content security policy; `wait_for_function` would not. So waiting is done here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, CDPSession, Page, async_playwright

from tests.parts.chromium import find_chromium, launch_flags

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "artefacts" / "browser"
WAIT_S = 30.0
LOOK_EVERY_S = 0.05


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """The system's browser, headless."""
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=find_chromium(), args=launch_flags())
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Visit:
    """One page in a window of its own. `complaints`: console errors and warnings, exceptions, requests that failed."""

    page: Page
    complaints: list[str] = field(default_factory=list)

    async def value(self, expression: str) -> Any:
        """What a JavaScript expression is now."""
        return await self.page.evaluate(expression)

    async def until(self, expression: str, what: str) -> Any:
        """Waits until an expression is true, and returns it. Raises AssertionError, saying `what` did not happen."""
        for _ in range(int(WAIT_S / LOOK_EVERY_S)):
            value = await self.value(expression)
            if value:
                return value
            await asyncio.sleep(LOOK_EVERY_S)
        raise AssertionError(f"{what}: not within {WAIT_S:.0f} s; {await self.said()}; {self.complaints}")

    async def said(self) -> str:
        """What the page tells the player."""
        return str(await self.value("document.getElementById('message')?.textContent + ' | ' + "
                                    "document.getElementById('start-error')?.textContent"))  # fmt: skip

    async def stats(self) -> dict[str, Any]:
        """`window.overworld.stats()`."""
        stats: dict[str, Any] = await self.value("window.overworld.stats()")
        return stats

    async def ticks_pass(self, count: int) -> None:
        """Waits until the page has seen so many more ticks."""
        tick = (await self.stats())["tick"]
        await self.until(f"window.overworld.stats().tick >= {tick + count}", f"{count} ticks")

    async def fly(self, name: str = "") -> dict[str, Any]:
        """From the start card into the world; returns the own ship's numbers."""
        await self.page.fill("#name", name)
        await self.page.click("#play")
        await self.until("window.overworld?.client.state === 'playing'", "connecting")
        ship: dict[str, Any] = await self.until("window.overworld.stats().ship", "the own ship")
        return ship

    async def picture(self, name: str) -> Path:
        """Keeps a screenshot for people to look at."""
        PICTURES.mkdir(parents=True, exist_ok=True)
        path = PICTURES / f"{name}.png"
        await self.page.screenshot(path=path)
        return path


@asynccontextmanager
async def visit(browser: Browser, url: str, **window: Any) -> AsyncIterator[Visit]:
    """Opens the page in a fresh window."""
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 720}, **window})
    try:
        page = await context.new_page()
        seen = Visit(page)
        page.on("console", lambda m: seen.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: seen.complaints.append(str(e)))
        page.on("requestfailed", lambda r: seen.complaints.append(f"{r.url}: {r.failure}"))
        page.on("response", lambda r: seen.complaints.append(f"{r.url}: {r.status}") if r.status >= 400 else None)
        await page.goto(url)
        yield seen
    finally:
        await context.close()


@dataclass
class Fingers:
    """Fingers on the page: each has a number and a place."""

    session: CDPSession
    places: dict[int, tuple[float, float]] = field(default_factory=dict)

    async def put(self, finger: int, x: float, y: float) -> None:
        """A finger touches the page, or moves on it."""
        kind = "touchMove" if finger in self.places else "touchStart"
        self.places[finger] = (x, y)
        await self._tell(kind)

    async def lift(self) -> None:
        """All fingers leave."""
        self.places.clear()
        await self._tell("touchEnd")

    async def _tell(self, kind: str) -> None:
        points = [{"x": x, "y": y, "id": finger} for finger, (x, y) in self.places.items()]
        await self.session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})


async def fingers_on(page: Page) -> Fingers:
    """Fingers for a page whose window was opened with `has_touch`."""
    return Fingers(await page.context.new_cdp_session(page))
