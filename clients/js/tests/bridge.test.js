import assert from 'node:assert/strict'
import { test } from 'node:test'

import { Bridge, BRIDGE_TICKS, mayCross } from '../src/bridge.js'
import { GRID, shardOf } from './world.js'

/** @param {any} [change] @returns {any} a ship of shard 0, about to leave eastwards */
const ship = (change = {}) => ({ id: 7, kind: 'Ship', cell: 2, shard: 0, x: 766, y: 100, vx: 5, vy: -2, heading: 3, ...change })

/** @param {number} shard @param {number} ticks */
const seen = (shard, ticks = 1) => [{ shard, epoch: 1, tick: 9, tick_interval_us: 50_000, ticks }]

test('who is on the bridge goes on by its velocity', () => {
  const bridge = new Bridge()
  bridge.keep(ship())
  assert.deepEqual(bridge.get(7), ship())
  bridge.advance(seen(0))
  bridge.advance(seen(1))
  bridge.advance(seen(1))
  assert.deepEqual(bridge.get(7), ship({ x: 776, y: 96 }))
  assert.deepEqual(bridge.all(), [bridge.get(7)])
  assert.equal(bridge.size, 1)
})

test('it is let go after so many ticks of any one shard', () => {
  const bridge = new Bridge()
  bridge.keep(ship())
  for (let n = 1; n < BRIDGE_TICKS; n++) for (const shard of [0, 1, 3]) bridge.advance(seen(shard))
  assert.deepEqual(bridge.expire(), [])
  bridge.advance(seen(3))
  assert.deepEqual(bridge.expire().map((e) => e.x), [766 + 5 * BRIDGE_TICKS])
  assert.equal(bridge.has(7), false)
  assert.equal(bridge.get(7), null)
})

test('who comes up is taken off once', () => {
  const bridge = new Bridge()
  bridge.keep(ship())
  assert.equal(bridge.take(7), true)
  assert.equal(bridge.take(7), false)
  bridge.advance(seen(0, 9))
  assert.deepEqual(bridge.expire(), [])
})

test('what does not move stays where it was', () => {
  const bridge = new Bridge()
  bridge.keep(/** @type {any} */ ({ id: 8, kind: 'Rock', cell: 0, shard: 0, size: 4 }))
  bridge.advance(seen(0))
  assert.deepEqual(bridge.get(8), { id: 8, kind: 'Rock', cell: 0, shard: 0, size: 4 })
})

/** Every cell is held. @param {number} cell */
const all = (cell) => shardOf(cell)

/** @type {[string, any, boolean][]} */
const PLACES = [
  ['just short of the border', { x: 766 }, true],
  ['beyond it', { x: 790 }, true],
  ['half a cell before it', { x: 640 }, false],
  ['at the border to the south', { x: 300, y: 511, vx: 0, vy: 4 }, true],
  ['at the corner of four shards', { x: 765, y: 510 }, true],
  ['at the edge of the world', { x: 1, y: 1, vx: -9 }, false],
  ['standing still at the border', { vx: 0, vy: 0 }, false],
  ['fast, and turned by a push', { x: 740, vx: 240 }, true],
]

for (const [name, change, expected] of PLACES) {
  test(`an entity ${name} ${expected ? 'may have crossed' : 'has ended'}`, () => {
    assert.equal(mayCross(ship(change), GRID, all), expected)
  })
}

test('a shard whose cells we do not hold cannot bring it up again', () => {
  assert.equal(mayCross(ship(), GRID, (cell) => (shardOf(cell) === 0 ? 0 : undefined)), false)
})
