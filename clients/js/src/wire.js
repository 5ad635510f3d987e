/**
 * The messages of the Overworld client protocol: what a client writes (`encode...`) and what it reads (`decodeFrame`).
 * The tables below are `proto/overworld/wire/v1/client.proto`, field by field. Known fields of an unexpected wire type
 * and unknown fields are passed over, as the protocol's versioning asks for.
 */

import { Reader, WireError, Writer } from './varint.js'

export { WireError }

/** The version of the protocol this module speaks. */
export const PROTOCOL = 1

/** A server frame above this is not read: 64 times the largest backlog a gateway lets a socket build up. */
export const FRAME_BYTES_MAX = 16 * 1024 * 1024

/**
 * @typedef {{shard: number, epoch: number, tick: number, tick_interval_us: number}} TickHead
 * @typedef {{cell: number, kind: number, removed: number[], added: number[], columns: number[], changed: number[]}} Cell
 * @typedef {{entered: number[], left: number[]}} View
 * @typedef {{seq: number, shard: number, tick: number}} Ack
 * @typedef {{entity: number, kind: number, values: number[]}} Own
 * @typedef {{cells_x: number, cells_y: number, cell_size: number, shards_x: number, shards_y: number, view: number}} Grid
 * @typedef {{name: string, modulo: number, units_per_one: number}} Column
 * @typedef {{name: string, columns: Column[], owner_columns: Column[], moves: boolean}} Kind
 * @typedef {{name: string, min: number, max: number}} InputField
 * @typedef {{name: string, fields: InputField[]}} InputKind
 * @typedef {{message_bytes_max: number, messages_per_second_max: number, idle_seconds_max: number}} Limits
 * @typedef {{nonce: number, server_time_us: number}} Pong
 * @typedef {{code: number, text: string}} Notice
 */

/**
 * `session` is a 64-bit number in decimal.
 * @typedef {{
 *   protocol: number, world: string, title: string, title_version: number, contract: string, session: string,
 *   resume: Uint8Array, grid: Grid, tick_interval_us: number, kinds: Kind[], inputs: InputKind[],
 *   commit_level: number, limits: Limits, last_seq: number
 * }} Welcome
 */

/**
 * @typedef {{
 *   heads: TickHead[], updates: Cell[], keyframes: Cell[], views: View[], acks: Ack[], owns: Own[],
 *   welcomes: Welcome[], pongs: Pong[], notices: Notice[]
 * }} Frame
 */

/** What a `Notice` is about. */
export const NoticeCode = Object.freeze({ STALLED: 1, RESUMED: 2, BROADCAST: 3, DRAINING: 4, SEARCHING: 5 })

/**
 * @typedef {'uint32' | 'sint32' | 'uint53' | 'uint64' | 'bool' | 'string' | 'blob' | 'uint32s' | 'sint32s' | 'uint53s'} Scalar
 * @typedef {{name: string, type: Scalar | Schema, many?: boolean}} FieldOf
 * @typedef {Map<number, FieldOf>} Schema
 */

/**
 * @param {Record<string, [number, Scalar | Schema, 'many'?]>} fields
 * @returns {Schema}
 */
function schema(fields) {
  return new Map(
    Object.entries(fields).map(([name, [number, type, many]]) => [number, { name, type, many: many === 'many' }]),
  )
}

const TICK_HEAD = schema({ shard: [1, 'uint32'], epoch: [2, 'uint32'], tick: [3, 'uint32'], tick_interval_us: [4, 'uint32'] })

const CELL = schema({
  cell: [1, 'uint32'],
  kind: [2, 'uint32'],
  removed: [3, 'uint32s'],
  added: [4, 'uint53s'],
  columns: [5, 'sint32s'],
  changed: [6, 'sint32s'],
})

const GRID = schema({
  cells_x: [1, 'uint32'],
  cells_y: [2, 'uint32'],
  cell_size: [3, 'uint32'],
  shards_x: [4, 'uint32'],
  shards_y: [5, 'uint32'],
  view: [6, 'uint32'],
})

const COLUMN = schema({ name: [1, 'string'], modulo: [2, 'uint32'], units_per_one: [3, 'uint32'] })

const KIND = schema({
  name: [1, 'string'],
  columns: [2, COLUMN, 'many'],
  owner_columns: [3, COLUMN, 'many'],
  moves: [4, 'bool'],
})

const INPUT_KIND = schema({
  name: [1, 'string'],
  fields: [2, schema({ name: [1, 'string'], min: [2, 'sint32'], max: [3, 'sint32'] }), 'many'],
})

const WELCOME = schema({
  protocol: [1, 'uint32'],
  world: [2, 'string'],
  title: [3, 'string'],
  title_version: [4, 'uint32'],
  contract: [5, 'string'],
  session: [6, 'uint64'],
  resume: [7, 'blob'],
  grid: [8, GRID],
  tick_interval_us: [9, 'uint32'],
  kinds: [10, KIND, 'many'],
  inputs: [11, INPUT_KIND, 'many'],
  commit_level: [12, 'uint32'],
  limits: [
    13,
    schema({ message_bytes_max: [1, 'uint32'], messages_per_second_max: [2, 'uint32'], idle_seconds_max: [3, 'uint32'] }),
  ],
  last_seq: [14, 'uint32'],
})

const FRAME = schema({
  heads: [1, TICK_HEAD, 'many'],
  updates: [2, CELL, 'many'],
  keyframes: [3, CELL, 'many'],
  views: [4, schema({ entered: [1, 'uint32s'], left: [2, 'uint32s'] }), 'many'],
  acks: [5, schema({ seq: [1, 'uint32'], shard: [2, 'uint32'], tick: [3, 'uint32'] }), 'many'],
  owns: [6, schema({ entity: [1, 'uint53'], kind: [2, 'uint32'], values: [3, 'sint32s'] }), 'many'],
  welcomes: [7, WELCOME, 'many'],
  pongs: [8, schema({ nonce: [1, 'uint32'], server_time_us: [2, 'uint53'] }), 'many'],
  notices: [9, schema({ code: [1, 'uint32'], text: [2, 'string'] }), 'many'],
})

/**
 * Reads one server message.
 *
 * @param {Uint8Array} bytes
 * @returns {Frame}
 * @throws {WireError} where the bytes are no `Frame`
 */
export function decodeFrame(bytes) {
  if (bytes.length > FRAME_BYTES_MAX) throw new WireError(`frame of ${bytes.length} bytes, at most ${FRAME_BYTES_MAX}`)
  const frame = blank(FRAME)
  read(new Reader(bytes), FRAME, frame)
  return /** @type {Frame} */ (/** @type {unknown} */ (frame))
}

/**
 * @param {{title: string, token: string, resume?: Uint8Array, client?: string}} hello
 * @returns {Uint8Array<ArrayBuffer>} the first message of a socket
 */
export function encodeHello({ title, token, resume, client }) {
  const hello = new Writer().uint32(1, PROTOCOL).string(2, title).string(3, token)
  if (resume?.length) hello.blob(4, resume)
  if (client) hello.string(5, client)
  return new Writer().blob(1, hello.finish()).finish()
}

/**
 * @param {{seq: number, kind: number, values: readonly number[], seen_tick?: number, due_tick?: number}} input
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeInput({ seq, kind, values, seen_tick = 0, due_tick = 0 }) {
  const input = new Writer().uint32(1, seq)
  if (kind) input.uint32(2, kind)
  input.sint32s(3, values)
  if (seen_tick) input.uint32(4, seen_tick)
  if (due_tick) input.uint32(5, due_tick)
  return new Writer().blob(2, input.finish()).finish()
}

/** @param {number} nonce @returns {Uint8Array<ArrayBuffer>} */
export function encodePing(nonce) {
  return new Writer().blob(3, new Writer().uint32(1, nonce).finish()).finish()
}

/** @returns {Uint8Array<ArrayBuffer>} */
export function encodeBye() {
  return new Writer().blob(4, new Uint8Array(0)).finish()
}

/**
 * @param {Schema} fields
 * @returns {Record<string, unknown>} a message with every field at its default
 */
function blank(fields) {
  /** @type {Record<string, unknown>} */
  const message = {}
  for (const { name, type, many } of fields.values()) message[name] = many ? [] : defaultOf(type)
  return message
}

/** @param {Scalar | Schema} type */
function defaultOf(type) {
  if (typeof type !== 'string') return blank(type)
  switch (type) {
    case 'string':
      return ''
    case 'bool':
      return false
    case 'blob':
      return new Uint8Array(0)
    case 'uint64':
      return '0'
    case 'uint32s':
    case 'sint32s':
    case 'uint53s':
      return []
    default:
      return 0
  }
}

/**
 * @param {Reader} reader
 * @param {Schema} fields
 * @param {Record<string, unknown>} out
 */
function read(reader, fields, out) {
  while (reader.next()) {
    const field = fields.get(reader.field)
    if (!field || !fits(reader, field.type)) {
      reader.skip()
      continue
    }
    const { name, type, many } = field
    if (typeof type !== 'string') {
      const target = many ? blank(type) : /** @type {Record<string, unknown>} */ (out[name])
      read(reader.message(), type, target)
      if (many) /** @type {unknown[]} */ (out[name]).push(target)
    } else if (type === 'uint32s' || type === 'sint32s' || type === 'uint53s') {
      reader[type](/** @type {number[]} */ (out[name]))
    } else {
      out[name] = type === 'bool' ? reader.uint64() !== '0' : reader[type]()
    }
  }
}

/** @param {Reader} reader @param {Scalar | Schema} type */
function fits(reader, type) {
  if (typeof type !== 'string' || type === 'string' || type === 'blob') return reader.isDelimited
  if (type.endsWith('s')) return reader.isDelimited || reader.isVarint
  return reader.isVarint
}
