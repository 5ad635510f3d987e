import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Interpolator } from '../src/interpolate.js'
import { Mirror } from '../src/mirror.js'
import { frameOf } from './gateway.js'
import { seeded } from './random.js'
import { GRID, WELCOME } from './world.js'

const TICK_MS = 50

/** @returns {any} */
const place = () => ({ x: NaN, y: NaN, vx: 0, vy: 0, heading: NaN })

/** One ship in cell 0, told every tick by its whole state; `path(tick)` gives x, y, vx, vy, heading. */
class Stage {
  mirror = new Mirror()
  interpolator = new Interpolator()
  /** @type {number[]} */ seenState = []

  /** @param {(tick: number) => number[]} path @param {{shard?: number}} [options] */
  constructor(path, { shard = 0 } = {}) {
    this.path = path
    this.cell = shard === 0 ? 0 : 3
    this.shard = shard
    this.mirror.apply(frameOf({ welcomes: [WELCOME] }))
  }

  /** @param {number} tick @param {number} now_ms @param {number} [interval_us] */
  tick(tick, now_ms, interval_us = 0) {
    const [x, y, vx, vy, heading] = this.path(tick)
    const x0 = this.cell * GRID.cell_size
    const frame = frameOf({
      heads: [{ shard: this.shard, epoch: 1, tick, tick_interval_us: interval_us }],
      views: [{ entered: [this.cell] }],
      keyframes: [{ cell: this.cell, kind: 0, added: [7], columns: [x - x0, y, vx, vy, heading, 100] }],
    })
    const seen = /** @type {any[]} */ (this.mirror.apply(frame))
    this.interpolator.record(this.mirror, seen, now_ms)
  }
}

test('a straight path is drawn without any error, in the past and now', (t) => {
  const random = seeded(t)
  const stage = new Stage((tick) => [5 * tick, 3 * tick, 5, 3, 8])
  for (let tick = 0; tick < 100; tick++) stage.tick(tick, tick * TICK_MS + random.next() * 30)
  const { interpolator } = stage
  const out = place()
  for (let now = 99 * TICK_MS + 30; now < 99 * TICK_MS + 300; now += 7) {
    const clock = /** @type {import('../src/clock.js').TickClock} */ (interpolator.clock(0))
    assert.ok(interpolator.interpolated(7, now, out))
    // What is drawn lies at whole 256ths of ticks.
    const then = Math.floor(clock.tickAt(now - interpolator.delay_ms) * 256) / 256
    assert.ok(Math.abs(out.x - 5 * then) < 1e-6 && Math.abs(out.y - 3 * then) < 1e-6)
    assert.ok(interpolator.predicted(7, now, out))
    assert.ok(Math.abs(out.x - 5 * clock.tickAt(now)) < 1e-6)
  }
})

test('a turning ship is drawn between the states the server sent', () => {
  // The motion rule: the velocity of a tick is what moved it there.
  const xs = [0]
  for (let i = 1; i < 200; i++) xs.push(xs[i - 1] + Math.round(40 * Math.cos(i / 7)))
  const stage = new Stage((tick) => [xs[tick], 0, xs[tick] - (xs[tick - 1] ?? 0), 0, (tick * 9) % 256])
  const out = place()
  let worst = 0
  for (let tick = 0; tick < 200; tick++) {
    stage.tick(tick, tick * TICK_MS)
    for (let part = 0; tick > 40 && part < 5; part++) {
      const now = tick * TICK_MS + part * 10
      stage.interpolator.interpolated(7, now, out)
      const clock = /** @type {import('../src/clock.js').TickClock} */ (stage.interpolator.clock(0))
      const then = Math.floor(clock.tickAt(now - stage.interpolator.delay_ms) * 256) / 256
      const floor = Math.floor(then)
      const truth = xs[floor] + (xs[floor + 1] - xs[floor]) * (then - floor)
      worst = Math.max(worst, Math.abs(out.x - truth))
      const turned = ((out.heading - then * 9 + 128) % 256 + 256) % 256 - 128 // prettier-ignore
      assert.ok(Math.abs(turned) < 0.01, `heading off by ${turned}`)
    }
  }
  assert.ok(worst < 0.01, `worst error ${worst}`)
})

test('the delay follows the jitter: up quickly, down slowly', (t) => {
  const random = seeded(t)
  const stage = new Stage((tick) => [tick, 0, 1, 0, 0])
  let tick = 0
  const run = (/** @type {number} */ jitter, /** @type {number} */ count) => {
    for (const end = tick + count; tick < end; tick++) stage.tick(tick, tick * TICK_MS + random.next() * jitter)
  }
  run(1, 200)
  const calm = stage.interpolator.delay_ms
  assert.ok(calm < 62, `${calm}`)
  run(120, 60)
  const rough = stage.interpolator.delay_ms
  assert.ok(rough > 130, `${rough}`)
  run(1, 400)
  assert.ok(stage.interpolator.delay_ms < 65, `${stage.interpolator.delay_ms}`)
})

test('a teleport snaps: nobody sees the ship cross the world', () => {
  const stage = new Stage((tick) => (tick < 30 ? [tick, 0, 1, 0, 0] : [250, 200, 1, 0, 0]))
  for (let tick = 0; tick < 31; tick++) stage.tick(tick, tick * TICK_MS)
  const out = place()
  for (let now = 30 * TICK_MS; now < 32 * TICK_MS; now += 5) {
    stage.interpolator.interpolated(7, now, out)
    assert.ok(out.x < 31 || out.x >= 250, `${out.x}`)
    stage.interpolator.predicted(7, now, out)
    assert.ok(out.x >= 250)
  }
})

test('a wrong prediction melts away instead of jumping', () => {
  // It stops dead at tick 20.
  const stage = new Stage((tick) => (tick < 20 ? [6 * tick, 0, 6, 0, 0] : [6 * 19, 0, 0, 0, 0]))
  for (let tick = 0; tick < 20; tick++) stage.tick(tick, tick * TICK_MS)
  const [before, after, later] = [place(), place(), place()]
  const now = 20 * TICK_MS + 20
  stage.interpolator.predicted(7, now, before)
  stage.tick(20, now)
  stage.interpolator.predicted(7, now, after)
  stage.interpolator.predicted(7, now + 400, later)
  assert.ok(Math.abs(before.x - after.x) < 0.01)
  assert.ok(Math.abs(later.x - 6 * 19) < 0.1)
})

test('when nothing comes any more things stop instead of flying away', () => {
  const stage = new Stage((tick) => [tick, 0, 1, 0, 0])
  for (let tick = 0; tick < 30; tick++) stage.tick(tick, tick * TICK_MS)
  const [a, b] = [place(), place()]
  stage.interpolator.predicted(7, 10_000, a)
  stage.interpolator.predicted(7, 60_000, b)
  assert.equal(a.x, 29 + 10)
  assert.equal(b.x, a.x)
})

test('after a pause the picture goes on from where it was', () => {
  const stage = new Stage((tick) => [tick, 0, 1, 0, 0])
  for (let tick = 0; tick < 30; tick++) stage.tick(tick, tick * TICK_MS)
  stage.tick(30, 5_000)
  stage.tick(31, 5_050)
  const out = place()
  stage.interpolator.interpolated(7, 5_060, out)
  assert.ok(out.x > 28 && out.x <= 31, `${out.x}`)
})

test('unknown entities are not drawn, gone ones are for a moment', () => {
  const stage = new Stage((tick) => [tick, 0, 1, 0, 0])
  for (let tick = 0; tick < 30; tick++) stage.tick(tick, tick * TICK_MS)
  assert.equal(stage.interpolator.interpolated(8, 0, place()), false)
  const apply = (/** @type {any} */ frame, /** @type {number} */ now) =>
    stage.interpolator.record(stage.mirror, /** @type {any[]} */ (stage.mirror.apply(frameOf(frame))), now)
  apply({ heads: [{ shard: 0, epoch: 1, tick: 30 }], views: [{ left: [0] }] }, 30 * TICK_MS)
  assert.equal(stage.interpolator.interpolated(7, 31 * TICK_MS, place()), true)
  for (let tick = 31; tick < 160; tick++) apply({ heads: [{ shard: 0, epoch: 1, tick }] }, tick * TICK_MS)
  assert.equal(stage.interpolator.interpolated(7, 160 * TICK_MS, place()), false)
})

test('a ship that crosses into another shard is drawn without a break', () => {
  const mirror = new Mirror()
  const interpolator = new Interpolator()
  const border = 3 * GRID.cell_size
  const [v, phase_ms] = [12, 25]
  const at = (/** @type {number} */ ms) => border - 50 * v + (v * ms) / TICK_MS
  const apply = (/** @type {any} */ frame, /** @type {number} */ now) =>
    interpolator.record(mirror, /** @type {any[]} */ (mirror.apply(frameOf(frame))), now)
  mirror.apply(frameOf({ welcomes: [WELCOME] }))
  const out = place()
  let worst = 0
  for (let n = 0; n < 80; n++) {
    const [now, then] = [n * TICK_MS, n * TICK_MS + phase_ms]
    const west = { heads: [{ shard: 0, epoch: 1, tick: n }] }
    const east = { heads: [{ shard: 1, epoch: 1, tick: 700 + n }] }
    const row = (/** @type {number} */ cell, /** @type {number} */ x) => ({ cell, kind: 0, added: [7], columns: [x - cell * GRID.cell_size, 9, v, 0, 8, 100] })
    const cell = Math.floor(at(now) / GRID.cell_size)
    const left = [0, 1, 2].filter((other) => other !== cell)
    if (n < 50) apply({ ...west, views: [{ entered: [cell], left }], keyframes: [row(cell, at(now))] }, now)
    else apply({ ...west, updates: n === 50 ? [{ cell: 2, kind: 0, removed: [0] }] : [] }, now)
    // The other shard has it two ticks after it is gone from the first one.
    if (n < 52) apply({ ...east, views: n ? [] : [{ entered: [3, 4, 5] }] }, then)
    else apply({ ...east, updates: n === 52 ? [row(3, at(then))] : [] }, then)
    for (let ms = then; n > 20 && n < 59 && ms < now + TICK_MS; ms += 5) {
      assert.ok(interpolator.predicted(7, ms, out))
      worst = Math.max(worst, Math.abs(out.x - at(ms)))
      assert.ok(interpolator.interpolated(7, ms, out))
      // Drawn at a whole 256th of a tick, so up to that much of its way behind.
      worst = Math.max(worst, Math.abs(out.x - at(ms - interpolator.delay_ms)) - v / 256)
    }
  }
  assert.ok(worst < 1e-6, `off by ${worst}`)
  assert.equal(mirror.get(7)?.shard, 1)
})

test('sight says exactly what is drawn: between two told ticks, over a gap, and beyond the newest', () => {
  const stage = new Stage((tick) => [10 * tick * tick, 0, 20 * tick - 10, 0, 0])
  for (let tick = 0; tick < 40; tick++) if (tick !== 35) stage.tick(tick, tick * TICK_MS)
  const { interpolator } = stage
  const clock = /** @type {import('../src/clock.js').TickClock} */ (interpolator.clock(0))
  const [out, spans] = [place(), new Set()]
  for (let now = 37 * TICK_MS; now < 45 * TICK_MS; now += 3) {
    const sight = /** @type {import('../src/interpolate.js').Sight} */ (interpolator.sight(0, now))
    assert.ok(interpolator.interpolated(7, now, out))
    const { tick, part, span } = sight
    spans.add(span)
    const drawn = span ? 10 * tick ** 2 + (part * (10 * (tick + span) ** 2 - 10 * tick ** 2)) / (256 * span) : 10 * tick ** 2 + ((20 * tick - 10) * part) / 256
    assert.ok(Math.abs(out.x - drawn) < 1e-6, `${JSON.stringify(sight)}: ${out.x}, not ${drawn}`)
    assert.equal(tick * 256 + part, Math.floor(clock.tickAt(now - interpolator.delay_ms) * 256))
  }
  assert.deepEqual([...spans].sort(), [0, 1, 2])
  assert.equal(interpolator.sight(9, 0), null)
})

test('time dilation and a pause reach what is drawn: it slows with the world, and stands with it', () => {
  const stage = new Stage((tick) => [10 * tick, 0, 10, 0, 0])
  const { interpolator } = stage
  const out = place()
  /** @param {number} now */
  const x = (now) => (interpolator.interpolated(7, now, out), out.x)
  let [tick, now] = [0, 0]
  for (; tick < 60; tick++) stage.tick(tick, (now += TICK_MS))
  let last = x(now)
  let interval = TICK_MS
  for (let n = 0; n < 60; n++) {
    // Ten milliseconds slower with every tick, down to a quarter of the pace.
    interval = Math.min(4 * TICK_MS, interval + 10)
    for (let ms = 10; ms <= interval; ms += 10) {
      if (ms === interval) stage.tick(tick++, now + ms, interval * 1000)
      const drawn = x(now + ms)
      // A tick is 10 units; the pace between two ticks is the last one's.
      assert.ok(drawn - last > -2.1, `back by ${last - drawn}`)
      assert.ok(drawn - last < (n > 40 ? 0.6 : 2.5), `${drawn - last} in 10 ms`)
      last = drawn
    }
    now += interval
  }
  const clock = /** @type {import('../src/clock.js').TickClock} */ (interpolator.clock(0))
  clock.hold(now)
  assert.equal(x(now + 5_000), x(now))
  clock.release(now + 5_000)
  assert.ok(Math.abs(x(now + 5_000) - last) < 0.6)
})
