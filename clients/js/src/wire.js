/**
 * The messages of the Overworld client protocol: what a client writes (`encode...`) and what it reads (`decodeFrame`).
 * Field numbers and types come from `schema.js`, which is generated from `proto/overworld/wire/v1/client.proto`. Known fields of an unexpected wire type
 * and unknown fields are passed over, as the protocol's versioning asks for.
 */

import { CLIENT_MESSAGE, FRAME, HELLO, INPUT, NOTICE_CODES, PING } from './schema.js'
import { Reader, WireError, Writer } from './varint.js'

export { WireError }

/** The version of the protocol this module speaks. */
export const PROTOCOL = 1

/** A server frame above this is not read: 64 times the largest backlog a gateway lets a socket build up. */
export const FRAME_BYTES_MAX = 16 * 1024 * 1024

/** @typedef {import('./schema.js').Ack} Ack */
/** @typedef {import('./schema.js').Cell} Cell */
/** @typedef {import('./schema.js').Column} Column */
/** @typedef {import('./schema.js').Frame} Frame */
/** @typedef {import('./schema.js').Grid} Grid */
/** @typedef {import('./schema.js').InputField} InputField */
/** @typedef {import('./schema.js').InputKind} InputKind */
/** @typedef {import('./schema.js').Kind} Kind */
/** @typedef {import('./schema.js').Limits} Limits */
/** @typedef {import('./schema.js').Notice} Notice */
/** @typedef {import('./schema.js').Own} Own */
/** @typedef {import('./schema.js').Pong} Pong */
/** @typedef {import('./schema.js').TickHead} TickHead */
/** @typedef {import('./schema.js').View} View */
/** @typedef {import('./schema.js').Welcome} Welcome */

/** What a `Notice` is about. */
export const NoticeCode = Object.freeze(NOTICE_CODES)

/**
 * A message, ready for reading: what each field number holds.
 * @typedef {import('./schema.js').Scalar} Scalar
 * @typedef {{name: string, type: Scalar | Schema, many: boolean}} FieldOf
 * @typedef {Map<number, FieldOf>} Schema
 */

/** @param {import('./schema.js').Table} table @returns {Schema} */
function compiled(table) {
  return new Map(
    Object.entries(table).map(([name, [number, type, many]]) => [
      number,
      { name, type: typeof type === 'string' ? type : compiled(type), many: many === 'many' },
    ]),
  )
}

const FRAME_FIELDS = compiled(FRAME)
/** Without the picture. */
const LIGHT_FIELDS = new Map([...FRAME_FIELDS].filter(([, { name }]) => !['updates', 'views', 'keyframes'].includes(name)))

/**
 * Reads one server message.
 *
 * @param {Uint8Array} bytes
 * @param {boolean} [light] passes over cells and views: those of the frame are empty
 * @returns {Frame}
 * @throws {WireError} where the bytes are no `Frame`
 */
export function decodeFrame(bytes, light = false) {
  if (bytes.length > FRAME_BYTES_MAX) throw new WireError(`frame of ${bytes.length} bytes, at most ${FRAME_BYTES_MAX}`)
  const frame = blank(FRAME_FIELDS)
  read(new Reader(bytes), light ? LIGHT_FIELDS : FRAME_FIELDS, frame)
  return /** @type {Frame} */ (/** @type {unknown} */ (frame))
}

/**
 * @param {{title: string, token: string, resume?: Uint8Array, client?: string}} hello
 * @returns {Uint8Array<ArrayBuffer>} the first message of a socket
 */
export function encodeHello({ title, token, resume, client }) {
  const hello = new Writer().uint32(HELLO.protocol[0], PROTOCOL).string(HELLO.title[0], title).string(HELLO.token[0], token)
  if (resume?.length) hello.blob(HELLO.resume[0], resume)
  if (client) hello.string(HELLO.client[0], client)
  return new Writer().blob(CLIENT_MESSAGE.hello[0], hello.finish()).finish()
}

/**
 * @param {{seq: number, kind: number, values: readonly number[], seen_tick?: number, due_tick?: number}} input
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeInput({ seq, kind, values, seen_tick = 0, due_tick = 0 }) {
  const input = new Writer().uint32(INPUT.seq[0], seq)
  if (kind) input.uint32(INPUT.kind[0], kind)
  input.sint32s(INPUT.values[0], values)
  if (seen_tick) input.uint32(INPUT.seen_tick[0], seen_tick)
  if (due_tick) input.uint32(INPUT.due_tick[0], due_tick)
  return new Writer().blob(CLIENT_MESSAGE.input[0], input.finish()).finish()
}

/** @param {number} nonce @returns {Uint8Array<ArrayBuffer>} */
export function encodePing(nonce) {
  return new Writer().blob(CLIENT_MESSAGE.ping[0], new Writer().uint32(PING.nonce[0], nonce).finish()).finish()
}

/** @returns {Uint8Array<ArrayBuffer>} */
export function encodeBye() {
  return new Writer().blob(CLIENT_MESSAGE.bye[0], new Uint8Array(0)).finish()
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
