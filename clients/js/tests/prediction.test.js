import assert from 'node:assert/strict'
import { test } from 'node:test'

import { connect, Lead, Predictor } from '../src/index.js'
import { bytesOf, Gateway } from './gateway.js'
import { seeded } from './random.js'

/** The simplest title: a bead that is pushed to and fro. @type {import('../src/prediction.js').Rule} */
const slide = (bead, commands) => {
  const vx = bead.vx + commands.reduce((sum, { fields }) => sum + fields.push, 0)
  return { ...bead, vx, x: bead.x + vx }
}

/** A predictor at tick 10, and the inputs that are on their way. */
function bead() {
  /** @type {import('../src/prediction.js').Unacked[]} */
  const unacked = []
  const predictor = new Predictor({ rule: slide, columns: ['x', 'y', 'vx'] }, () => unacked)
  predictor.confirm(10, { x: 0, y: 0, vx: 4 }, 10, 0)
  /** @param {number} due @param {number} push */
  const push = (due, push) => {
    unacked.push({ kind: 'Push', fields: { push }, due })
    predictor.changed()
  }
  /** @param {number} from @param {number} to @param {string} column */
  const from = (from, to, column) => Array.from({ length: to - from + 1 }, (_, i) => /** @type {any} */ (predictor.at(from + i, 1e6))[column])
  return { predictor, unacked, push, from }
}

test('an input acts at its tick before the server has it', () => {
  const { predictor, push, from } = bead()
  push(13, 6)
  assert.deepEqual(from(10, 15, 'x'), [0, 4, 8, 18, 28, 38])
  assert.equal(predictor.at(13.5, 0)?.x, 23)
})

test('a state that agrees changes nothing', () => {
  const { predictor, unacked, push } = bead()
  push(11, 6)
  const before = predictor.at(14.25, 500)
  predictor.acknowledged(unacked.splice(0), 11)
  predictor.confirm(12, { x: 20, y: 0, vx: 10 }, 14.25, 500)
  assert.deepEqual(predictor.at(14.25, 500), before)
  assert.deepEqual([predictor.confirmed, predictor.mispredicted], [1, 0])
})

test('inputs on the way are played again upon the state the server tells', () => {
  const { predictor, unacked, push, from } = bead()
  push(11, 6)
  push(14, -10)
  predictor.acknowledged(unacked.splice(0, 1), 11)
  predictor.confirm(12, { x: 100, y: 0, vx: 15 }, 12, 0)
  assert.deepEqual(from(12, 15, 'x'), [100, 115, 120, 125])
  assert.deepEqual(predictor.corrections, [80])
})

test('a correction is not seen at once and melts away; a leap is shown at once', () => {
  const { predictor } = bead()
  const shown = predictor.at(12, 1000)
  predictor.confirm(11, { x: 14, y: 0, vx: 4 }, 12, 1000)
  assert.deepEqual(predictor.at(12, 1000), shown)
  assert.ok(Math.abs(/** @type {any} */ (predictor.at(12, 2000)).x - 18) < 0.01)
  predictor.snap = 50
  predictor.confirm(12, { x: 1000, y: 0, vx: 0 }, 12, 3000)
  assert.equal(predictor.at(12, 3000)?.x, 1000)
})

test('a late input is played where the server did', () => {
  const { predictor, unacked, push } = bead()
  push(11, 6)
  predictor.confirm(11, { x: 4, y: 0, vx: 4 }, 13, 0)
  assert.equal(predictor.at(13, 1e6)?.x, 24)
  assert.equal(predictor.acknowledged(unacked.splice(0), 12), 1)
  predictor.confirm(12, { x: 14, y: 0, vx: 10 }, 13, 0)
  assert.deepEqual([predictor.mispredicted, predictor.late], [1, 1])
})

test('an input waits for those before it, and a tick takes four', () => {
  const { push, from } = bead()
  push(13, 1)
  for (let i = 0; i < 5; i++) push(11, 1)
  assert.deepEqual(from(10, 15, 'vx'), [4, 4, 4, 8, 10, 10])
})

test('it is never wrong where the server keeps the ticks', (t) => {
  const random = seeded(t)
  for (let round = 0; round < 50; round++) {
    const lag = random.int(0, 6)
    let due = lag + 1
    const inputs = Array.from({ length: random.int(0, 30) }, () => ({ kind: 'Push', fields: { push: random.int(-3, 4) }, due: (due += random.int(0, 6)) }))
    /** @type {import('../src/prediction.js').Unacked[]} */
    const unacked = []
    const predictor = new Predictor({ rule: slide, columns: ['x', 'vx'] }, () => unacked)
    let state = { x: 0, y: 0, vx: 0 }
    predictor.confirm(0, state, 0, 0)
    let [made, applied] = [0, 0]
    for (let tick = 1; tick < due + inputs.length + 2; tick++) {
      while (made < inputs.length && inputs[made].due <= tick + lag) unacked.push(inputs[made++])
      predictor.changed()
      predictor.at(tick + lag + 0.5, 0)
      /** @type {import('../src/prediction.js').Unacked[]} */
      const now = []
      while (applied < inputs.length && now.length < 4 && inputs[applied].due <= tick) now.push(inputs[applied++])
      state = /** @type {any} */ (slide(state, now))
      if (now.length) predictor.acknowledged(unacked.splice(0, now.length), tick)
      predictor.confirm(tick, state, tick + lag, 0)
    }
    assert.equal(predictor.mispredicted, 0)
    assert.equal(applied, inputs.length)
  }
})

test('the lead follows the way there, grows with late inputs and shrinks slowly', () => {
  const lead = new Lead()
  const far = lead.advance(80, 10, 0)
  assert.ok(far > 90 && far < 120)
  lead.late(1)
  assert.equal(lead.advance(80, 10, 1000), far + 20 - 2 * 0)
  const later = lead.advance(20, 10, 2000)
  assert.ok(later > far - 40, 'nobody sees the own time stumble')
  for (let s = 3; s < 30; s++) lead.advance(20, 10, s * 1000)
  assert.ok(lead.ms < 60)
})

test('a connection predicts its avatar, names ticks, and agrees with its server', async (t) => {
  let now = 0
  const gateway = new Gateway()
  /** @type {any} */
  let socket = null
  class Socket {
    binaryType = ''
    readyState = 1
    constructor() {
      socket = this
    }
    /** @param {Uint8Array} bytes */
    send(bytes) {
      gateway.receive(bytes)
    }
    close() {}
  }
  const ticket = () => ({ token: 't', url: 'ws://x/' })
  const client = connect({ title: 'demo', ticket, WebSocket: /** @type {any} */ (Socket), now: () => now })
  t.after(() => client.close())
  /** @param {any} frame */
  const give = (frame) => socket.onmessage({ data: bytesOf(frame).buffer })
  await new Promise((resolve) => setImmediate(resolve))
  socket.onopen({})
  for (const frame of gateway.outbox.splice(0)) give(frame)
  assert.equal(client.state, 'playing')
  for (const frame of gateway.outbox.splice(0)) give(frame)
  const steering = client.predict({ rule: (ship) => ({ ...ship, x: ship.x + ship.vx, y: ship.y + ship.vy }), columns: ['x', 'y'] })
  const keyframe = { cell: 0, kind: 0, added: [5], columns: [100, 200, 7, 0, 9, 100] }
  give({ heads: [{ shard: 0, epoch: 1, tick: 8 }], views: [{ entered: [0] }], keyframes: [keyframe], owns: [{ entity: 5, kind: 0, values: [3] }] })
  for (let tick = 9; tick < 30; tick++) {
    now += 50
    give({ heads: [{ shard: 0, epoch: 1, tick }] })
  }
  assert.deepEqual([steering.predictor.confirmed, steering.predictor.mispredicted], [21, 0])
  const ahead = steering.tick(now) - 29
  assert.ok(ahead > 0)
  assert.ok(Math.abs(/** @type {any} */ (steering.shown(now)).x - (100 + (7 * Math.floor((21 + ahead) * 256)) / 256)) < 1e-6)
  assert.equal(steering.due(now), Math.floor(steering.tick(now)) + 1)
})
