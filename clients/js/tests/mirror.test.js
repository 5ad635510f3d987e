import assert from 'node:assert/strict'
import { test } from 'node:test'

import { BRIDGE_TICKS } from '../src/bridge.js'
import { Mirror, MirrorError } from '../src/mirror.js'
import { decodeFrame } from '../src/wire.js'
import { encodeFrame } from './official.js'
import { seeded } from './random.js'
import { GRID, shardOf, WELCOME, World } from './world.js'

/** @param {Mirror} mirror @param {any} frame plain, of the official spelling */
const give = (mirror, frame) => mirror.apply(decodeFrame(encodeFrame(frame)))

/** @param {any} [change] @returns {Mirror} that holds cell 0 (shard 0) at tick 10 with ships 5, 9 and 12 */
function watching(change = {}) {
  const mirror = new Mirror()
  give(mirror, { welcomes: [{ ...WELCOME, ...change }] })
  give(mirror, {
    heads: [{ shard: 0, epoch: 1, tick: 10 }],
    views: [{ entered: [0] }],
    keyframes: [{ cell: 0, kind: 0, added: [5, 4, 3], columns: [10, 20, 30, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 100, 90, 80] }],
  })
  return mirror
}

/** @param {Mirror} mirror @returns {string[]} grows with every event */
function diary(mirror) {
  /** @type {string[]} */
  const lines = []
  mirror.on('add', (entity) => lines.push(`add ${entity.id}`))
  mirror.on('change', (id, _, mask) => lines.push(`change ${id} ${mask}`))
  mirror.on('remove', (entity, reason) => lines.push(`remove ${entity.id} ${reason}`))
  return lines
}

/** All of a mirror, from its plain arrays. @param {Mirror} mirror */
function everything(mirror) {
  /** @type {any[]} */
  const found = []
  for (const kind of mirror.kinds) {
    const table = mirror.table(kind.name)
    for (let i = 0; i < table.count; i++) {
      const { cell, shard } = /** @type {any} */ (mirror.get(table.ids[i]))
      const values = Object.fromEntries(Object.entries(table.columns).map(([name, column]) => [name, column[i]]))
      found.push({ id: table.ids[i], kind: kind.name, cell, shard, ...values })
    }
  }
  return found.sort((a, b) => a.id - b.id)
}

const tick = (n = 11, more = {}) => ({ heads: [{ shard: 0, epoch: 1, tick: n }], ...more })

test('a keyframe fills an entered cell', () => {
  const mirror = watching()
  assert.equal(mirror.size, 3)
  assert.deepEqual(mirror.get(9), { id: 9, kind: 'Ship', cell: 0, shard: 0, x: 20, y: 2, vx: 5, vy: 8, heading: 0, hp: 90 })
  assert.equal(mirror.get(6), null)
})

test('what moves goes on by itself, for each tick that passed', () => {
  const mirror = watching()
  give(mirror, tick(11))
  assert.equal(mirror.get(9)?.x, 25)
  give(mirror, tick(14))
  assert.deepEqual([mirror.get(9)?.x, mirror.get(9)?.y], [40, 34])
})

test('a new velocity is taken to have held for the whole tick', () => {
  const mirror = watching()
  give(mirror, tick(11, { updates: [{ cell: 0, kind: 0, changed: [1, 1, -5, 2] }] }))
  const { x, y, vx, vy } = /** @type {any} */ (mirror.get(9))
  assert.deepEqual([x, y, vx, vy], [20, 12, 0, 10])
})

test('removed, added, changed: each into the order the one before left', () => {
  const mirror = watching()
  const told = diary(mirror)
  const update = { cell: 0, kind: 0, removed: [0, 1], added: [7, 13], columns: [1, 2, 0, 0, 0, 0, 0, 0, 8, 9, 1, 2], changed: [1, 8, -40, 0, 4, 250] }
  give(mirror, tick(11, { updates: [update] }))
  assert.deepEqual(everything(mirror).map((e) => [e.id, e.heading, e.hp]), [[7, 8, 1], [9, 0, 50], [20, 3, 2]]) // prettier-ignore
  assert.deepEqual(told, ['remove 5 gone', 'remove 12 gone', 'add 7', 'add 20', 'change 9 8'])
})

test('a restated row is what it is told to be, whatever it was', () => {
  const mirror = watching()
  const told = diary(mirror)
  const restated = [1, 1 | 8, 7, -3, -1, 2, 55]
  give(mirror, tick(13, { updates: [{ cell: 0, kind: 0, removed: [0] }, { cell: 0, kind: 0, restated }] }))
  const { x, y, vx, vy, hp } = /** @type {any} */ (mirror.get(12))
  const half = GRID.cell_size / 2
  assert.deepEqual([x, y, vx, vy, hp], [half + 7, half - 3, -1, 2, 55])
  assert.equal(mirror.get(9)?.x, 20 + 3 * 5)
  assert.deepEqual(told, ['remove 5 gone', 'change 12 9'])
})

test('crossing into another cell is one entity going on', () => {
  const mirror = watching()
  give(mirror, tick(11, { views: [{ entered: [1] }] }))
  const told = diary(mirror)
  const there = { cell: 1, kind: 0, added: [9], columns: [3, 4, 5, 8, 0, 90] }
  give(mirror, tick(12, { updates: [{ cell: 0, kind: 0, removed: [1] }, there] }))
  assert.deepEqual(told, ['change 9 -1'])
  assert.deepEqual([mirror.get(9)?.cell, mirror.get(9)?.x], [1, GRID.cell_size + 3])
})

test('two shards may tell of a crossing in either order', () => {
  const mirror = watching()
  const other = { heads: [{ shard: 1, epoch: 1, tick: 700 }] }
  give(mirror, { ...other, views: [{ entered: [3] }] })
  const told = diary(mirror)
  other.heads[0].tick++
  give(mirror, { ...other, updates: [{ cell: 3, kind: 0, added: [9], columns: [3, 4, 5, 8, 0, 90] }] })
  give(mirror, tick(11, { updates: [{ cell: 0, kind: 0, removed: [1] }] }))
  assert.deepEqual(told, ['change 9 -1'])
  assert.equal(mirror.get(9)?.cell, 3)
})

/** @returns {{mirror: Mirror, told: string[], leave: any, arrive: any}} ship 9 near shard 1, and what both shards will say of its crossing */
function crossing() {
  const mirror = watching()
  give(mirror, { heads: [{ shard: 1, epoch: 1, tick: 700 }], views: [{ entered: [3] }] })
  const close = { cell: 2, kind: 0, added: [9], columns: [250, 4, 5, 0, 0, 90] }
  give(mirror, tick(11, { updates: [{ cell: 0, kind: 0, removed: [1] }], views: [{ entered: [2] }], keyframes: [close] }))
  const leave = tick(12, { heads: [{ shard: 0, epoch: 1, tick: 13 }], updates: [{ cell: 2, kind: 0, removed: [0] }] })
  const arrive = { heads: [{ shard: 1, epoch: 1, tick: 702 }], updates: [{ cell: 3, kind: 0, added: [9], columns: [-3, 4, 5, 0, 0, 90] }] }
  return { mirror, told: diary(mirror), leave, arrive }
}

test('between two shards an entity goes on by its velocity, for all who look', () => {
  const { mirror, told, leave, arrive } = crossing()
  give(mirror, { owns: [{ entity: 9, kind: 0, values: [33] }] })
  give(mirror, leave)
  assert.equal(mirror.size, 3)
  assert.ok(mirror.has(9))
  assert.equal(mirror.avatar?.x, 2 * GRID.cell_size + 260)
  give(mirror, tick(14))
  assert.equal(mirror.avatar?.x, 2 * GRID.cell_size + 265)
  assert.deepEqual(everything(mirror).map((e) => [e.id, e.x]), [[5, 26], [9, 777], [12, 54]]) // prettier-ignore
  give(mirror, arrive)
  assert.deepEqual([mirror.avatar?.cell, mirror.avatar?.x, mirror.size], [3, 3 * GRID.cell_size - 3, 3])
  assert.deepEqual(told, ['change 9 -1'])
})

test('what does not come up on the other side is gone after all', () => {
  const { mirror, told, leave } = crossing()
  give(mirror, leave)
  for (let n = 1; n < BRIDGE_TICKS; n++) give(mirror, tick(13 + n))
  assert.deepEqual(told, [])
  give(mirror, tick(13 + BRIDGE_TICKS))
  assert.deepEqual(told, ['remove 9 gone'])
  assert.equal(mirror.get(9), null)
})

test('what ends away from a border is gone at once', () => {
  const { mirror, told } = crossing()
  give(mirror, tick(12, { updates: [{ cell: 0, kind: 0, removed: [1] }] }))
  assert.deepEqual(told, ['remove 12 gone'])
})

test('an entity in two cells is where it was added last, and shown once', () => {
  const { mirror, told, leave, arrive } = crossing()
  give(mirror, arrive)
  assert.deepEqual(everything(mirror).map((e) => [e.id, e.cell]), [[5, 0], [9, 3], [12, 0]]) // prettier-ignore
  const rows = [0, 1].map((shard) => {
    /** @type {number[]} */
    const ids = []
    mirror.eachRow(shard, (r, row) => ids.push(r.ids[row]))
    return ids
  })
  assert.deepEqual(rows, [[5, 12], [9]])
  give(mirror, leave)
  assert.deepEqual([mirror.get(9)?.cell, mirror.size], [3, 3])
  assert.deepEqual(told, ['change 9 -1'])
})

test('there and back before the first shard has said a word', () => {
  const { mirror, told, leave, arrive } = crossing()
  give(mirror, arrive)
  give(mirror, { heads: [{ shard: 1, epoch: 1, tick: 703 }], updates: [{ cell: 3, kind: 0, removed: [0] }] })
  assert.equal(mirror.get(9)?.cell, 2)
  give(mirror, leave)
  assert.ok(mirror.has(9))
  give(mirror, tick(14, { updates: [{ cell: 2, kind: 0, added: [9], columns: [250, 4, -5, 0, 0, 90] }] }))
  assert.equal(mirror.get(9)?.vx, -5)
  assert.deepEqual(told, ['change 9 -1', 'change 9 -1', 'change 9 -1'])
})

test('a resume between two shards keeps who is on the way', () => {
  const { mirror, told, leave } = crossing()
  give(mirror, leave)
  give(mirror, { welcomes: [WELCOME] })
  const there = { cell: 3, kind: 0, added: [9], columns: [3, 4, 5, 0, 0, 90] }
  give(mirror, { heads: [{ shard: 1, epoch: 1, tick: 702 }], views: [{ entered: [3] }], keyframes: [there] })
  assert.deepEqual(told, ['change 9 -1'])
})

test('a cell sent anew changes what differs and keeps who stays', () => {
  const mirror = watching()
  const told = diary(mirror)
  const keyframe = { cell: 0, kind: 0, added: [5, 1], columns: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 55, 66] }
  give(mirror, tick(11, { views: [{ entered: [0] }], keyframes: [keyframe] }))
  assert.deepEqual(told, ['remove 9 gone', 'remove 12 gone', 'add 6', 'change 5 -1'])
})

test('what leaves the view is unseen, what ends in it is gone', () => {
  const mirror = watching()
  const told = diary(mirror)
  give(mirror, tick(11, { views: [{ left: [0] }] }))
  assert.deepEqual(told, ['remove 5 unseen', 'remove 9 unseen', 'remove 12 unseen'])
  assert.equal(mirror.size, 0)
})

test('a row that left towards a cell we do not see is unseen', () => {
  const mirror = watching()
  const fast = { cell: 0, kind: 0, changed: [0, 1, 300, 0] }
  const told = diary(mirror)
  give(mirror, tick(11, { updates: [fast] }))
  give(mirror, tick(12, { updates: [{ cell: 0, kind: 0, removed: [0] }] }))
  assert.deepEqual(told, ['change 5 1', 'remove 5 unseen'])
})

test('an old tick is dropped with its bag; a new epoch counts above any tick', () => {
  const mirror = watching()
  const wipe = { views: [{ left: [0] }] }
  assert.equal(give(mirror, tick(10, wipe)), null)
  assert.equal(give(mirror, tick(9, wipe)), null)
  assert.equal(mirror.framesDropped, 2)
  assert.equal(mirror.size, 3)
  assert.ok(give(mirror, { heads: [{ shard: 0, epoch: 2, tick: 11 }] }))
  assert.equal(give(mirror, tick(400, wipe)), null)
})

test('a resume keeps who is still there and says who is not', () => {
  const mirror = watching()
  const told = diary(mirror)
  give(mirror, { welcomes: [WELCOME] })
  assert.equal(mirror.size, 0)
  give(mirror, { heads: [{ shard: 1, epoch: 1, tick: 4 }] })
  assert.deepEqual(told, [])
  const keyframe = { cell: 0, kind: 0, added: [5, 1], columns: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 55, 66] }
  give(mirror, tick(10, { views: [{ entered: [0] }], keyframes: [keyframe] }))
  assert.deepEqual(told, ['remove 9 gone', 'remove 12 gone', 'add 6', 'change 5 -1'])
})

test('after a resume elsewhere in the world everything from before is given up in the end', () => {
  const mirror = watching()
  const told = diary(mirror)
  give(mirror, { welcomes: [WELCOME] })
  give(mirror, { heads: [{ shard: 3, epoch: 1, tick: 1 }], views: [{ entered: [23] }] })
  assert.deepEqual(told, [])
  for (let n = 2; n < 60; n++) give(mirror, { heads: [{ shard: 3, epoch: 1, tick: n }] })
  assert.deepEqual(told, ['remove 5 unseen', 'remove 9 unseen', 'remove 12 unseen'])
})

test('another world takes everything away at once', () => {
  const mirror = watching()
  const told = diary(mirror)
  give(mirror, { welcomes: [{ ...WELCOME, contract: 'def' }] })
  assert.equal(told.length, 3)
  assert.deepEqual(mirror.own, { entity: 0, kind: 0, values: [] })
})

test("the player's own avatar and its private values", () => {
  const mirror = watching()
  /** @type {any[]} */
  const told = []
  mirror.on('own', (own) => told.push(own.entity))
  give(mirror, { owns: [{ entity: 9, kind: 0, values: [33] }] })
  give(mirror, { owns: [{ entity: 9, kind: 0, values: [33] }] })
  assert.equal(mirror.avatar?.hp, 90)
  assert.deepEqual(mirror.ownValues, { ammo: 33 })
  give(mirror, { owns: [{ entity: 0 }] })
  assert.equal(mirror.avatar, null)
  assert.deepEqual(told, [9, 0])
})

test('a listener that throws does not stop the picture, and its error is not swallowed', (t) => {
  const mirror = watching()
  /** @type {(() => void)[]} */
  const later = []
  t.mock.method(globalThis, 'queueMicrotask', (/** @type {() => void} */ task) => later.push(task))
  mirror.on('remove', () => {
    throw new Error('listener')
  })
  const told = diary(mirror)
  give(mirror, tick(11, { updates: [{ cell: 0, kind: 0, removed: [0] }] }))
  assert.deepEqual(told, ['remove 5 gone'])
  assert.throws(later[0], /listener/)
})

/** @type {[string, any][]} */
const BROKEN = [
  ['removal of a row that is not there', { updates: [{ cell: 0, kind: 0, removed: [0, 2] }] }],
  ['an id that is there already', { updates: [{ cell: 0, kind: 0, added: [9], columns: [0, 0, 0, 0, 0, 0] }] }],
  ['an id twice', { updates: [{ cell: 0, kind: 0, added: [6, 0], columns: Array(12).fill(0) }] }],
  ['too few values', { updates: [{ cell: 0, kind: 0, added: [6], columns: [0, 0, 0, 0, 0] }] }],
  ['values without rows', { updates: [{ cell: 0, kind: 0, columns: [0] }] }],
  ['change of a row that is not there', { updates: [{ cell: 0, kind: 0, changed: [3, 1, 0, 0] }] }],
  ['a negative gap', { updates: [{ cell: 0, kind: 0, changed: [-1, 1, 0, 0] }] }],
  ['a change record cut short', { updates: [{ cell: 0, kind: 0, changed: [0, 3, 0, 0] }] }],
  ['an index without a mask', { updates: [{ cell: 0, kind: 0, changed: [0] }] }],
  ['a mask beyond the groups', { updates: [{ cell: 0, kind: 0, changed: [0, 16, 1] }] }],
  ['a restated row that is not there', { updates: [{ cell: 0, kind: 0, restated: [3, 8, 1] }] }],
  ['a restated row cut short', { updates: [{ cell: 0, kind: 0, restated: [0, 1, 1, 1, 1] }] }],
  ['a restated place without its velocity', { updates: [{ cell: 0, kind: 0, restated: [0, 2, 1, 1] }] }],
  ['a restated row without a group', { updates: [{ cell: 0, kind: 0, restated: [0, 0] }] }],
  ['an unknown kind', { updates: [{ cell: 0, kind: 2, added: [6], columns: [] }] }],
  ['a cell outside the world', { views: [{ entered: [24] }] }],
  ['a shard outside the world', { heads: [{ shard: 4, epoch: 1, tick: 1 }] }],
  ['two heads of one shard', { heads: [{ shard: 0, epoch: 1, tick: 11 }, { shard: 0, epoch: 1, tick: 12 }] }], // prettier-ignore
  ['old and new ticks in one bag', { heads: [{ shard: 0, epoch: 1, tick: 10 }, { shard: 1, epoch: 1, tick: 12 }] }], // prettier-ignore
  ['a keyframe of a cell that is not entered', { keyframes: [{ cell: 0, kind: 0, added: [6], columns: Array(6).fill(0) }] }],
  ['a keyframe that removes', { views: [{ entered: [0] }], keyframes: [{ cell: 0, kind: 0, removed: [0] }] }],
  ['an update without its head', { heads: [], updates: [{ cell: 0, kind: 0, removed: [0] }] }],
  ['owner values of the wrong number', { owns: [{ entity: 9, kind: 0, values: [] }] }],
]

for (const [name, frame] of BROKEN) {
  test(`${name} is refused, and a resume mends the picture`, () => {
    const mirror = watching()
    const told = diary(mirror)
    assert.throws(() => give(mirror, { ...tick(11), ...frame }), MirrorError)
    give(mirror, { welcomes: [WELCOME] })
    const columns = [10, 20, 30, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0, 100, 90, 80]
    give(mirror, tick(11, { views: [{ entered: [0] }], keyframes: [{ cell: 0, kind: 0, added: [5, 4, 3], columns }] }))
    assert.deepEqual(everything(mirror).map((e) => e.id), [5, 9, 12])
    assert.deepEqual(told.filter((line) => !line.startsWith('change')), [])
  })
}

test('the world before a welcome is refused', () => {
  assert.throws(() => give(new Mirror(), tick(1)), MirrorError)
  assert.throws(() => give(new Mirror(), { welcomes: [{ ...WELCOME, grid: { ...GRID, shards_x: 4 } }] }), MirrorError)
})

test('a random world, watched through moving views, slow readers and resumes, is seen as it is', (t) => {
  const random = seeded(t)
  for (let round = 0; round < 12; round++) watchRandomWorld(random)
})

/** @param {import('./random.js').Random} random */
function watchRandomWorld(random) {
  const world = new World(random)
  const mirror = new Mirror()
  const live = new Set()
  mirror.on('add', (e) => assert.ok(!live.has(e.id) && live.add(e.id), `${e.id} added twice`))
  mirror.on('remove', (e) => assert.ok(live.delete(e.id), `${e.id} removed, but never added`))
  mirror.on('change', (id) => assert.ok(live.has(id), `${id} changed, but never added`))
  give(mirror, { welcomes: [WELCOME] })
  /** @type {Set<number>} */
  let held = new Set()
  /** Shards whose last bags this reader was too slow for: their cells come anew. @type {Set<number>} */
  const behind = new Set()
  /** At which ticks each entity was truly in view last. @type {Map<number, number[]>} */
  const last = new Map()
  for (let step = 0; step < 150; step++) {
    const shard = random.int(0, 4)
    world.step(shard)
    const updates = world.updates(shard)
    if (random.chance(0.01)) {
      give(mirror, { welcomes: [WELCOME] })
      held = new Set()
      behind.clear()
    }
    if (random.chance(0.1)) {
      if ([...held].some((cell) => shardOf(cell) === shard)) behind.add(shard)
      continue
    }
    const mine = Array.from({ length: GRID.cells_x * GRID.cells_y }, (_, cell) => cell).filter((cell) => shardOf(cell) === shard)
    const left = mine.filter((cell) => held.has(cell) && random.chance(0.05))
    const entered = mine.filter((cell) => (held.has(cell) ? behind.has(shard) : random.chance(0.1)) && !left.includes(cell))
    // What a slow reader missed must not be applied to what it has: its cells are entered anew, and updates before are no use.
    const told = behind.delete(shard) ? [] : updates.filter((u) => held.has(u.cell) || random.chance(0.3))
    for (const cell of left) held.delete(cell)
    for (const cell of entered) held.add(cell)
    const views = left.length || entered.length ? [{ entered, left }] : []
    give(mirror, { heads: [world.head(shard)], updates: told, views, keyframes: world.keyframes(entered) })
    const truth = world.picture(held).filter((e) => e.shard === shard)
    for (const { id } of truth) last.set(id, [...world.ticks])
    const known = new Set(truth.map((e) => e.id))
    const ours = everything(mirror).filter((e) => e.shard === shard)
    assert.deepEqual(ours.filter((e) => known.has(e.id)), truth) // prettier-ignore
    for (const { id } of ours.filter((e) => !known.has(e.id))) {
      const since = world.ticks[shard] - (last.get(id)?.[shard] ?? -Infinity)
      assert.ok(since <= BRIDGE_TICKS, `${id} is still shown ${since} ticks after it left`)
    }
  }
}
