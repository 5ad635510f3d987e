"""The stores as one simulated process reaches them: slow, refusing, or answering into the void, as the seed has it."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass

from overworld.errors import StoreUnavailable

_TIMEOUT_S = 1.0


@dataclass
class StoreWeather:
    """How a store behaves now, for everybody. `black_hole`: calls are not answered until their time limit."""

    delay_min_s: float = 0.0002
    delay_max_s: float = 0.002
    spike_chance: float = 0.0
    spike_max_s: float = 0.4
    lost_before_chance: float = 0.0
    lost_after_chance: float = 0.0
    refuse: bool = False
    black_hole: bool = False


class SeededFaults:
    """`overworld.store.memory.Faults` drawn from a seed."""

    def __init__(self, weather: StoreWeather, chance: random.Random) -> None:
        self._weather = weather
        self._chance = chance

    async def before(self, call: str, subject: int | str | None) -> None:
        await self._pass(call, subject, self._weather.lost_before_chance)

    async def after(self, call: str, subject: int | str | None) -> None:
        await self._pass(call, subject, self._weather.lost_after_chance)

    async def _pass(self, call: str, subject: int | str | None, lost_chance: float) -> None:
        weather, chance = self._weather, self._chance
        if weather.refuse:
            raise StoreUnavailable(f"simulated: {call} {subject} refused")
        if weather.black_hole:
            await asyncio.sleep(_TIMEOUT_S)
            raise StoreUnavailable(f"simulated: {call} {subject} timed out")
        if lost_chance and chance.random() < lost_chance:
            await asyncio.sleep(chance.uniform(0, _TIMEOUT_S))
            raise StoreUnavailable(f"simulated: {call} {subject} lost")
        high = weather.delay_max_s
        if weather.spike_chance and chance.random() < weather.spike_chance:
            high = weather.spike_max_s
        await asyncio.sleep(chance.uniform(weather.delay_min_s, high))
