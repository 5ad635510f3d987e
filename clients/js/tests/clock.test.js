import assert from 'node:assert/strict'
import { test } from 'node:test'

import { ServerClock, TickClock } from '../src/clock.js'
import { Stats } from '../src/stats.js'
import { seeded } from './random.js'

test('the shortest round trip tells the offset', (t) => {
  const random = seeded(t)
  const clock = new ServerClock()
  assert.ok(Number.isNaN(clock.offset_ms))
  for (let i = 0; i < 30; i++) {
    const [there, back] = [10 + random.next() * 80, 10 + random.next() * 80]
    const sent = i * 2000
    clock.observe(sent, sent + there + back, (sent + there + 7_777) * 1000)
  }
  assert.ok(Math.abs(clock.offset_ms - 7_777) < 35, `${clock.offset_ms}`)
  assert.ok(clock.round_trip_ms > 20 && clock.round_trip_ms < 180)
})

test('the beat of ticks is found under jitter', (t) => {
  const random = seeded(t)
  const clock = new TickClock()
  for (let tick = 100; tick < 400; tick++) {
    const late = random.chance(0.2) ? random.next() * 40 : random.next() * 3
    clock.observe(tick, 50_000, tick * 50 + 20 + late)
  }
  assert.ok(Math.abs(clock.timeOf(400) - (400 * 50 + 20)) < 3, `${clock.timeOf(400) - 400 * 50}`)
  assert.ok(Math.abs(clock.tickAt(410 * 50 + 20) - 410) < 0.1)
  assert.ok(clock.jitter_ms > 5 && clock.jitter_ms <= 43, `${clock.jitter_ms}`)
})

test('a clock that drifts is followed', () => {
  const clock = new TickClock()
  // 200 ppm slow, far more than a quartz.
  for (let tick = 0; tick < 5000; tick++) clock.observe(tick, 50_000, tick * 50 * 1.0002)
  assert.ok(Math.abs(clock.timeOf(5000) - 5000 * 50 * 1.0002) < 3)
})

test('time dilation changes the pace without a jump', () => {
  const clock = new TickClock()
  let now = 0
  let interval_us = 50_000
  for (let tick = 0; tick < 400; tick++) {
    // A tick says how long it lasts itself: the next one comes after that, when it was drawn to come.
    if (tick) assert.ok(Math.abs(clock.tickAt(now) - tick) < 0.001, `${tick}`)
    assert.equal(clock.observe(tick, interval_us, now), tick === 0)
    assert.ok(Math.abs(clock.tickAt(now) - tick) < 0.001, `${tick}`)
    now += interval_us / 1000
    if (tick % 10 === 0) interval_us = 50_000 * (1 + ((tick * 7) % 48) / 16)
  }
  assert.ok(clock.jitter_max_ms < 1)
})

test('while the world stands still its time stands, and goes on from there without a jump', () => {
  const clock = new TickClock()
  const at = (/** @type {number} */ now) => clock.tickAt(clock.time(now))
  for (let tick = 0; tick <= 40; tick++) clock.observe(tick, 50_000, tick * 50)
  clock.hold(2_025)
  assert.ok(Math.abs(at(2_025) - 40.5) < 0.01)
  assert.equal(at(9_000), at(2_025))
  clock.hold(5_000)
  assert.equal(at(9_000), at(2_025))
  // The next tick comes ten seconds late, and is not late at all.
  assert.equal(clock.observe(41, 50_000, 12_050), false)
  assert.ok(Math.abs(at(12_050) - 41) < 0.01)
  assert.ok(clock.jitter_max_ms < 1)
  clock.hold(12_050)
  clock.release(13_050)
  assert.ok(Math.abs(at(13_100) - 42) < 0.01)
})

test('a pause starts the timeline anew', () => {
  const clock = new TickClock()
  for (let tick = 0; tick < 20; tick++) clock.observe(tick, 50_000, tick * 50)
  assert.equal(clock.observe(20, 50_000, 9_000), true)
  assert.ok(Math.abs(clock.tickAt(9_025) - 20.5) < 1e-9)
})

test('rates count the last two seconds', () => {
  const stats = new Stats()
  for (let now = 0; now < 10_000; now += 50) stats.received(100, now)
  assert.ok(Math.abs(stats.bytesInPerSecond(10_000) - 2000) < 60)
  assert.ok(Math.abs(stats.framesPerSecond(10_000) - 20) < 1)
  assert.equal(stats.bytesInPerSecond(13_000), 0)
  assert.equal(stats.bytesIn, 20_000)
})
