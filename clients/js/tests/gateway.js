/** A model of the server's side of sessions: it admits, resumes, applies inputs in order and acks them, and closes as the protocol says. */

import { decodeFrame } from '../src/wire.js'
import { encodeFrame, officialClientMessage } from './official.js'
import { WELCOME } from './world.js'

/** @param {any} frame @returns {Uint8Array<ArrayBuffer>} */
export const bytesOf = (frame) => encodeFrame(frame)
/** @param {any} frame */
export const frameOf = (frame) => decodeFrame(encodeFrame(frame))

const WAITING_MAX = 32

/**
 * @typedef {{applied: any[], waiting: any[], lastSeq: number, resume: string[]}} Held
 * `resume`: the token given last, and the one the client came with, for its welcome may get lost.
 */

export class Gateway {
  /** @type {Map<number, Held>} */ sessions = new Map()
  /** The session of the socket that is open. @type {number} */ current = 0
  #next = 1
  #tokens = 0
  /** What the socket has yet to bring the client. @type {any[]} */ outbox = []
  /** @type {{code: number, reason: string} | null} */ closing = null

  /** A message of the client arrives. @param {Uint8Array} bytes */
  receive(bytes) {
    const message = officialClientMessage(bytes)
    if (message.hello) return this.#hello(message.hello)
    if (message.ping) return void this.outbox.push({ pongs: [{ nonce: message.ping.nonce, server_time_us: 1_000_000 }] })
    const session = /** @type {Held} */ (this.sessions.get(this.current))
    if (message.input) {
      const expected = session.lastSeq + session.waiting.length + 1
      if (message.input.seq < expected) return
      if (message.input.seq > expected) return this.#close(4007, `expected ${expected}, got ${message.input.seq}`)
      session.waiting.push(message.input)
      if (session.waiting.length > WAITING_MAX) this.#close(1008, 'too many inputs waiting')
    }
  }

  /** @param {any} hello */
  #hello(hello) {
    const wanted = hello.resume?.length ? Buffer.from(hello.resume).toString() : ''
    const found = [...this.sessions].find(([, s]) => s.resume.includes(wanted))
    if (wanted && !found) return this.#close(4008, 'unknown resume token')
    const id = found ? found[0] : this.#next++
    const session = this.sessions.get(id) ?? { applied: [], waiting: [], lastSeq: 0, resume: [] }
    session.resume = [`resume-${id}-${++this.#tokens}`, wanted]
    // What the lost socket had brought but no tick had taken is gone: the client sends it again.
    session.waiting = []
    this.sessions.set(id, session)
    this.current = id
    const resume = new Uint8Array(Buffer.from(session.resume[0]))
    this.outbox.push({ welcomes: [{ ...WELCOME, session: id, resume, last_seq: session.lastSeq }] })
  }

  /** A tick applies up to `most` waiting inputs and acks them. @param {number} most */
  tick(most) {
    const session = this.sessions.get(this.current)
    if (!session || this.closing) return
    const taken = session.waiting.splice(0, most)
    session.applied.push(...taken)
    session.lastSeq += taken.length
    if (taken.length) this.outbox.push({ acks: [{ seq: session.lastSeq, shard: 0, tick: 1 }] })
  }

  /** @param {number} code @param {string} reason */
  #close(code, reason) {
    this.closing = { code, reason }
  }

  /** The socket is gone, whoever closed it. */
  drop() {
    this.outbox = []
    this.closing = null
  }
}
