import assert from 'node:assert/strict'
import { test } from 'node:test'

import { decodeFrame, encodeBye, encodeHello, encodeInput, encodePing, WireError } from '../src/wire.js'
import { encodeFrame, officialClientMessage, officialFrame } from './official.js'
import { seeded } from './random.js'

/** @param {any} frame ours, brought to the official library's spelling */
const plain = (frame) => ({
  ...frame,
  welcomes: frame.welcomes.map((/** @type {any} */ w) => ({ ...w, session: Number(w.session), resume: [...w.resume] })),
})
/** @param {any} frame */
const official = (frame) => ({
  ...frame,
  welcomes: frame.welcomes.map((/** @type {any} */ w) => ({ ...w, resume: [...w.resume] })),
})

/** @param {import('./random.js').Random} random */
function randomFrame(random) {
  const u32 = () => random.pick([0, 1, 127, 128, 16_383, 16_384, 2 ** 31, 2 ** 32 - 1, random.int(0, 2 ** 32)])
  const s32 = () => random.pick([0, -1, 1, 63, -64, 64, 2 ** 31 - 1, -(2 ** 31), random.int(-(2 ** 31), 2 ** 31)])
  const id = () => random.pick([0, 1, 2 ** 32, 2 ** 53 - 1, random.int(0, 2 ** 48)])
  const text = () => random.pick(['', 'ship', 'Zürich', '世界', '🚀 x'])
  /** @template T @param {() => T} make @param {number} most @returns {T[]} */
  const some = (make, most = 4) => Array.from({ length: random.int(0, most + 1) }, make)
  const cell = () => ({
    cell: u32(), kind: u32(), removed: some(u32), added: some(id), columns: some(s32, 40), changed: some(s32, 40),
    restated: some(s32, 40),
  }) // prettier-ignore
  const column = () => ({ name: text(), modulo: u32(), units_per_one: u32() })
  return {
    heads: some(() => ({ shard: u32(), epoch: u32(), tick: u32(), tick_interval_us: u32() })),
    updates: some(cell),
    keyframes: some(cell),
    views: some(() => ({ entered: some(u32), left: some(u32) })),
    acks: some(() => ({ seq: u32(), shard: u32(), tick: u32() })),
    owns: some(() => ({ entity: id(), kind: u32(), values: some(s32) })),
    welcomes: some(
      () => ({
        protocol: u32(), world: text(), title: text(), title_version: u32(), contract: text(), definitions: text(), session: id(),
        resume: new Uint8Array(some(() => random.int(0, 256))),
        grid: { cells_x: u32(), cells_y: u32(), cell_size: u32(), shards_x: u32(), shards_y: u32(), view: u32() },
        tick_interval_us: u32(),
        kinds: some(() => ({ name: text(), columns: some(column), owner_columns: some(column), moves: random.chance(0.5) })),
        inputs: some(() => ({ name: text(), fields: some(() => ({ name: text(), min: s32(), max: s32() })) })),
        commit_level: u32(),
        limits: { message_bytes_max: u32(), messages_per_second_max: u32(), idle_seconds_max: u32() },
        last_seq: u32(),
      }), // prettier-ignore
      1,
    ),
    pongs: some(() => ({ nonce: u32(), server_time_us: id() })),
    notices: some(() => ({ code: random.int(0, 6), text: text() })),
  }
}

/** A length-delimited or varint field by hand. @param {number} tag @param {number[]} body */
const field = (tag, body) => [tag, body.length, ...body]

test('random frames read as the official library reads them', (t) => {
  const random = seeded(t)
  for (let i = 0; i < 300; i++) {
    const bytes = encodeFrame(randomFrame(random))
    const theirs = officialFrame(bytes)
    theirs.notices = theirs.notices.map((/** @type {any} */ n) => ({ ...n, code: Number(n.code) }))
    const ours = decodeFrame(bytes)
    // toObject leaves out singular sub-messages that were not sent; ours are always there.
    assert.deepEqual(plain(ours), official(theirs))
  }
})

test('concatenated frames are a frame', (t) => {
  const random = seeded(t)
  for (let i = 0; i < 50; i++) {
    const [a, b] = [encodeFrame(randomFrame(random)), encodeFrame(randomFrame(random))]
    const [fa, fb, both] = [decodeFrame(a), decodeFrame(b), decodeFrame(new Uint8Array([...a, ...b]))]
    for (const name of /** @type {(keyof typeof both)[]} */ (Object.keys(both))) {
      assert.deepEqual(both[name], [...fa[name], ...fb[name]])
    }
  }
})

test('unpacked and split repeated fields are joined', () => {
  const cell = field(0x12, [0x08, 7, 0x18, 1, 0x1a, 2, 2, 3, 0x18, 4, 0x20, 9])
  assert.deepEqual(decodeFrame(new Uint8Array(cell)).updates[0], {
    cell: 7, kind: 0, removed: [1, 2, 3, 4], added: [9], columns: [], changed: [], restated: [],
  }) // prettier-ignore
})

test('unknown fields, groups and unexpected wire types are passed over', () => {
  const unknown = [
    ...[0xa0, 0x06, 0x01], // field 100, varint
    ...[0xa5, 0x06, 1, 2, 3, 4], // fixed32
    ...[0xa1, 0x06, 1, 2, 3, 4, 5, 6, 7, 8], // fixed64
    ...[0xa2, 0x06, 2, 9, 9], // length-delimited
    ...[0xa3, 0x06, 0x08, 1, 0xa3, 0x06, 0xa4, 0x06, 0xa4, 0x06], // groups, nested
    ...[0x08, 0x05], // heads as a varint
  ]
  const head = field(0x0a, [0x08, 3, 0x12, 1, 0, 0x18, 5]) // epoch as bytes
  const frame = decodeFrame(new Uint8Array([...unknown, ...head]))
  assert.deepEqual(frame.heads, [{ shard: 3, epoch: 0, tick: 5, tick_interval_us: 0 }])
})

test('every truncation of a frame is an error or a shorter frame, never a crash', (t) => {
  const random = seeded(t)
  for (let i = 0; i < 20; i++) {
    const bytes = encodeFrame(randomFrame(random))
    for (let length = 0; length < bytes.length; length++) {
      try {
        decodeFrame(bytes.subarray(0, length))
      } catch (error) {
        assert.ok(error instanceof WireError, String(error))
      }
    }
  }
})

test('random bytes and flipped bits are an error or a frame, never a crash', (t) => {
  const random = seeded(t)
  for (let i = 0; i < 3000; i++) {
    const bytes = random.chance(0.5)
      ? Uint8Array.from({ length: random.int(0, 60) }, () => random.int(0, 256))
      : encodeFrame(randomFrame(random))
    if (bytes.length) bytes[random.int(0, bytes.length)] ^= 1 << random.int(0, 8)
    try {
      decodeFrame(bytes)
    } catch (error) {
      assert.ok(error instanceof WireError, String(error))
    }
  }
})

test('what cannot be held exactly or is not text is refused', () => {
  const tooLarge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]
  assert.throws(() => decodeFrame(new Uint8Array(field(0x32, [0x08, ...tooLarge]))), WireError)
  assert.throws(() => decodeFrame(new Uint8Array(field(0x4a, field(0x12, [0xc3, 0x28])))), WireError)
  assert.throws(() => decodeFrame(new Uint8Array([0x0a, ...Array(10).fill(0x80), 1])), WireError)
  assert.throws(() => decodeFrame(new Uint8Array(Array(400).fill(0xa3).flatMap((b) => [b, 0x06]))), WireError)
})

test('a session number of 64 bits is kept whole', () => {
  const session = [0x30, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]
  assert.equal(decodeFrame(new Uint8Array(field(0x3a, session))).welcomes[0].session, '18446744073709551615')
})

test('our messages read back through the official library', (t) => {
  const random = seeded(t)
  const token = 'a'.repeat(300)
  const resume = Uint8Array.from({ length: 70 }, () => random.int(0, 256))
  const hello = officialClientMessage(encodeHello({ title: 'frontier', token, resume, client: 'test/1' })).hello
  assert.deepEqual({ ...hello, resume: [...hello.resume] }, {
    protocol: 1, title: 'frontier', token, resume: [...resume], client: 'test/1',
  }) // prettier-ignore
  for (let i = 0; i < 200; i++) {
    const values = Array.from({ length: random.int(0, 6) }, () => random.pick([0, -1, 1, 2 ** 31 - 1, -(2 ** 31), random.int(-300, 300)]))
    const input = { seq: random.int(1, 2 ** 32), kind: random.int(0, 5), values, seen_tick: random.int(0, 2 ** 32), due_tick: random.int(0, 2 ** 32) }
    const read = { kind: 0, seen_tick: 0, due_tick: 0, values: [], ...officialClientMessage(encodeInput(input)).input }
    assert.deepEqual(read, input)
  }
  assert.equal(officialClientMessage(encodePing(77)).ping.nonce, 77)
  assert.deepEqual(officialClientMessage(encodeBye()).bye, {})
})

test('a light reader passes over cells and views, and reads the rest as it is', (t) => {
  const random = seeded(t)
  for (let i = 0; i < 50; i++) {
    const bytes = encodeFrame(randomFrame(random))
    const whole = decodeFrame(bytes)
    assert.deepEqual(decodeFrame(bytes, true), { ...whole, updates: [], views: [], keyframes: [] })
  }
})
