"""What must hold wherever the page is served from: the stage, or a whole cluster."""

from __future__ import annotations

import math

from playwright.async_api import Browser

from tests.browser.page import fingers_on, visit

PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
MOVED = 3.0
"""Units of the title's measure: more than a ship at rest is ever drawn off by."""


def moved_from(x: float, y: float) -> str:
    """True in the page once the own ship is elsewhere, or was killed meanwhile and is back elsewhere."""
    return f"(s => s && Math.hypot(s.x - {x}, s.y - {y}) > {MOVED})(window.overworld.stats().ship)"


async def ship_flies_on_key_press(browser: Browser, url: str, picture: str) -> None:
    """Connect, thrust, turn and shoot with keys; look at it; nothing in the console."""
    async with visit(browser, url) as seen:
        ship = await seen.fly("Ada")
        await seen.ticks_pass(5)
        ship = (await seen.stats())["ship"]
        await seen.page.keyboard.down("KeyW")
        await seen.until(moved_from(ship["x"], ship["y"]), "the ship moving ahead")
        await seen.page.keyboard.down("KeyD")
        angle = (await seen.stats())["ship"]["angle"]
        turned = f"Math.abs(Math.sin((window.overworld.stats().ship.angle - {angle}) / 2)) > {math.sin(0.25)}"
        await seen.until(turned, "the ship turning right")
        await seen.page.keyboard.up("KeyD")
        await seen.page.keyboard.down("Space")
        await seen.until("window.overworld.client.mirror.table('Bolt').count > 0", "a shot")
        await seen.picture(picture)
        await seen.page.keyboard.up("Space")
        await seen.page.keyboard.up("KeyW")
        # Inputs go out when the command changes, not every tick: six changes above.
        await seen.until("window.overworld.stats().inputs_pending === 0", "all inputs acked")
        stats = await seen.stats()
        assert stats["inputs_sent"] == stats["acked"] == 6, stats
        assert stats["errors"] == 0
        assert seen.complaints == []


async def ship_flies_by_thumbs(browser: Browser, url: str, picture: str) -> None:
    """The same on a telephone: left thumb flies, right thumb fires."""
    async with visit(browser, url, **PHONE) as seen:
        await seen.fly()
        await seen.ticks_pass(5)
        ship = (await seen.stats())["ship"]
        fingers = await fingers_on(seen.page)
        await fingers.put(0, 90, 650)
        await fingers.put(0, 125, 615)
        await seen.until(moved_from(ship["x"], ship["y"]), "the ship moving where the thumb points")
        # North-east: an eighth of a turn to the left of +x, with y pointing down.
        aimed = "Math.abs(Math.sin((window.overworld.stats().ship.angle + Math.PI / 4) / 2)) < 0.15"
        await seen.until(aimed, "the ship pointing where the thumb points")
        box = await seen.page.locator("#fire").bounding_box()
        assert box is not None
        await fingers.put(1, box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
        await seen.until("window.overworld.stats().command.fire === 1", "the trigger")
        await seen.until("window.overworld.client.mirror.table('Bolt').count > 0", "a shot")
        await seen.picture(picture)
        await fingers.lift()
        let_go = "(c => c.turn === 0 && c.thrust === 0 && c.fire === 0)(window.overworld.stats().command)"
        await seen.until(let_go, "letting go of everything")
        assert seen.complaints == []
