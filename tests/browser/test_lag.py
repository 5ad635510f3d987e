"""The page behind 150 ms: hands are seen at once, and the server agrees."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.async_api import Browser

from tests.browser import lag
from tests.browser.page import visit

pytestmark = [pytest.mark.browser, pytest.mark.e2e, pytest.mark.asyncio(loop_scope="module")]
ROUND_TRIP_S = 0.15


async def test_a_key_press_is_seen_long_before_the_server_could_answer(browser: Browser, tmp_path: Path) -> None:
    async with lag.behind(tmp_path, ROUND_TRIP_S) as url, visit(browser, url) as seen:
        await seen.fly("Ada")
        await seen.until("window.overworld.stats().ping_ms > 0", "the way measured")
        await seen.ticks_pass(60)
        await lag.watch(seen)
        before = await seen.stats()
        answers = [await lag.press(seen, key, 0.2) for key in ("KeyD", "KeyA", "KeyD", "KeyA", "KeyD")]
        await seen.until("window.overworld.stats().inputs_pending === 0", "all inputs acked")
        stats = await seen.stats()
        # In frames, not in milliseconds: a slow machine draws few.
        assert sorted(answer.frames for answer in answers)[2] <= 2, answers
        assert stats["ping_ms"] >= ROUND_TRIP_S * 1000 * 0.8
        assert stats["lead_ms"] > stats["ping_ms"] * 0.8
        if stats["inputs_late"] == before["inputs_late"]:
            assert stats["mispredicted"] == before["mispredicted"], stats
        first, second = await lag.keep_pair(seen, "lag")
        assert first.read_bytes() != second.read_bytes()
        assert seen.complaints == []
