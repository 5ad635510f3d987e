/**
 * One player's session over any number of sockets: hello, inputs kept until acked, resume, pings, and what to do when a socket
 * closes. Pure: no socket, no timer, no chance of its own; the shell gives it bytes and the local time in milliseconds, and sends
 * what `takeOutgoing` returns.
 */

import { ServerClock } from './clock.js'
import { Inputs } from './inputs.js'
import { CLOSE_NO_WELCOME, CLOSE_SILENT_SERVER, delayOf, policyOf } from './policy.js'
import { Stats } from './stats.js'
import { decodeFrame, encodeBye, encodeHello, encodeInput, encodePing, PROTOCOL } from './wire.js'

/**
 * `idle`: never opened. `connecting`: the socket is opening. `greeting`: hello sent. `playing`. `lost`: between two sockets. `over`: for
 * good.
 * @typedef {'idle' | 'connecting' | 'greeting' | 'playing' | 'lost' | 'over'} SessionState
 */

/**
 * What the shell does after a close: open another socket after `after_ms`, at another gateway where `elsewhere`, with a new token
 * where `freshToken`; or nothing, where not `again`.
 * @typedef {{
 *   again: boolean, after_ms: number, elsewhere: boolean, freshToken: boolean, code: number, name: string, reason: string
 * }} CloseDecision
 */

/** @typedef {import('./wire.js').Frame} Frame */
/** @typedef {import('./wire.js').Welcome} Welcome */

const PING_EVERY_MS = 2_000
const PINGS_OPEN_MAX = 8
const CONNECT_MS_MAX = 10_000
const WELCOME_MS_MAX = 10_000
/** Above this without a byte the server or the way to it is dead: it answers our pings. */
const SILENCE_MS_MAX = 8_000
/** When we were not called for so long, the machine slept: what looks like silence is our own. */
const SLEPT_MS = 3_000
/** A session that played for so long has recovered: the next loss counts as the first again. */
const STABLE_MS = 5_000
const ATTEMPTS_MAX = 60
const NOT_AUTHORISED = 4003
/** Refused tokens in a row: with the first the token is renewed, with the second the session is given up as well. */
const REFUSALS_MAX = 3
/** We stay this far below the server's limit of messages. */
const RATE_SHARE = 0.75

/** See the module. */
export class Session {
  /** @type {SessionState} */ state = 'idle'
  /** @type {Welcome | null} */ welcome = null
  inputs = new Inputs()
  clock = new ServerClock()
  stats = new Stats()
  /** The newest ack: everything up to `seq` has changed the world at `tick` of `shard`. */
  acked = { seq: 0, shard: 0, tick: 0 }
  /** Set when this side has to close the socket. @type {{code: number, reason: string} | null} */
  wantsClose = null

  /** @type {Uint8Array<ArrayBuffer>[]} */ #outgoing = []
  /** @type {Map<number, number>} */ #pings = new Map()
  #nonce = 0
  #title
  #client
  #random
  /** @type {Uint8Array} */ #resume = new Uint8Array(0)
  #attempts = 0
  #refusals = 0
  #since_ms = 0
  #heard_ms = 0
  #pinged_ms = -Infinity
  #called_ms = 0
  #allowance = 0
  #allowed_ms = 0

  #light
  #lost_ms = NaN
  /** When the newest tick of each shard came. @type {Map<number, number>} */ #ticked = new Map()

  /** `light`: cells and views are not even read. @param {{title: string, client?: string, random?: () => number, light?: boolean}} options */
  constructor({ title, client = '@overworld/client', random = Math.random, light = false }) {
    this.#light = light
    this.#title = title
    this.#client = client
    this.#random = random
  }

  // ------------------------------------------------------------ the socket's life

  /** A socket is being opened. @param {number} now_ms */
  opening(now_ms) {
    this.#enter('connecting', now_ms)
    this.stats.sockets++
    this.#outgoing = []
    this.#pings.clear()
    this.wantsClose = null
  }

  /** The socket is open. @param {string} token @param {number} now_ms */
  opened(token, now_ms) {
    this.#enter('greeting', now_ms)
    this.#heard_ms = now_ms
    this.clock.reset()
    this.#send(encodeHello({ title: this.#title, token, resume: this.#resume, client: this.#client }), now_ms)
  }

  /**
   * A message came. Give the frame to the mirror, and where that takes it, to `accept`.
   *
   * @param {Uint8Array} bytes
   * @param {number} now_ms
   * @returns {Frame}
   * @throws {import('./varint.js').WireError} close with CLOSE_BROKEN_PICTURE then
   */
  received(bytes, now_ms) {
    this.#heard_ms = now_ms
    this.stats.received(bytes.length, now_ms)
    return decodeFrame(bytes, this.#light)
  }

  /** @param {Frame} frame one that the mirror took @param {number} now_ms */
  accept(frame, now_ms) {
    for (const welcome of frame.welcomes) this.#welcome(welcome, now_ms)
    for (const ack of frame.acks) {
      if (ack.seq < this.acked.seq || ack.seq > this.inputs.lastSeq) continue
      this.acked = ack
      for (const { sent_ms } of this.inputs.ack(ack.seq)) this.stats.ack.record(now_ms - sent_ms)
    }
    for (const pong of frame.pongs) {
      const sent_ms = this.#pings.get(pong.nonce)
      if (sent_ms === undefined) continue
      this.#pings.delete(pong.nonce)
      this.clock.observe(sent_ms, now_ms, pong.server_time_us)
      this.stats.round_trip.record(now_ms - sent_ms)
    }
    for (const { shard } of frame.heads) {
      const before = this.#ticked.get(shard)
      if (before !== undefined && (shard === this.acked.shard || !this.acked.tick)) this.stats.gap.record(now_ms - before)
      this.#ticked.set(shard, now_ms)
    }
    this.advance(now_ms)
  }

  /**
   * The socket is closed, by whomever.
   *
   * @param {number} code
   * @param {string} reason
   * @param {number} now_ms
   * @returns {CloseDecision}
   */
  closed(code, reason, now_ms) {
    const policy = policyOf(code)
    if (this.state === 'playing' && now_ms - this.#since_ms > STABLE_MS) this.#attempts = 0
    if (this.state === 'playing') this.#lost_ms = now_ms
    this.#outgoing = []
    if (!policy.resume) this.#resume = new Uint8Array(0)
    if (code === NOT_AUTHORISED && ++this.#refusals === 2) this.#resume = new Uint8Array(0)
    const hopeless = this.#attempts >= ATTEMPTS_MAX || this.#refusals >= REFUSALS_MAX
    const again = this.state !== 'over' && policy.when !== 'never' && !hopeless
    const after_ms = again ? delayOf(policy.when, this.#attempts, reason, this.#random()) : 0
    this.#attempts++
    this.#enter(again ? 'lost' : 'over', now_ms)
    return {
      again,
      after_ms,
      elsewhere: policy.elsewhere ?? false,
      freshToken: policy.freshToken ?? false,
      code,
      name: policy.name,
      reason,
    }
  }

  /** The player leaves for good; close with 1000 once this is sent. @param {number} now_ms */
  bye(now_ms) {
    if (this.state === 'playing') this.#send(encodeBye(), now_ms)
    this.#resume = new Uint8Array(0)
    this.#enter('over', now_ms)
  }

  /** Time passed: pings, inputs that had to wait, and giving up on the silent. Call some twenty times a second. @param {number} now_ms */
  advance(now_ms) {
    const slept = now_ms - this.#called_ms > SLEPT_MS
    this.#called_ms = now_ms
    if (this.state === 'connecting' || this.state === 'greeting') {
      const limit_ms = this.state === 'connecting' ? CONNECT_MS_MAX : WELCOME_MS_MAX
      if (now_ms - this.#since_ms > limit_ms) this.wantsClose = { code: CLOSE_NO_WELCOME, reason: `no answer in ${limit_ms} ms` }
    }
    if (this.state !== 'playing') return
    if (slept) this.#heard_ms = Math.max(this.#heard_ms, now_ms - SILENCE_MS_MAX / 2)
    if (now_ms - this.#heard_ms > SILENCE_MS_MAX) {
      this.wantsClose = { code: CLOSE_SILENT_SERVER, reason: `nothing heard for ${SILENCE_MS_MAX} ms` }
      return
    }
    this.#sendInputs(now_ms)
    if (now_ms - this.#pinged_ms >= PING_EVERY_MS) this.#ping(now_ms)
  }

  /** @returns {Uint8Array<ArrayBuffer>[]} messages to send now, in order */
  takeOutgoing() {
    const outgoing = this.#outgoing
    this.#outgoing = []
    return outgoing
  }

  /** @returns {boolean} whether the next hello takes up a session */
  get canResume() {
    return this.#resume.length > 0
  }

  // ------------------------------------------------------------ parts

  /** @param {Welcome} welcome @param {number} now_ms */
  #welcome(welcome, now_ms) {
    if (this.state !== 'greeting') return
    if (welcome.protocol !== PROTOCOL) {
      this.wantsClose = { code: 1000, reason: `this client speaks protocol ${PROTOCOL}, not ${welcome.protocol}` }
      return
    }
    const sameSession = this.welcome?.session === welcome.session
    if (sameSession) this.stats.resumes++
    if (this.welcome && this.welcome.contract !== welcome.contract) this.inputs.forgetWaiting()
    for (const { sent_ms } of this.inputs.begin(welcome.inputs, welcome.last_seq, sameSession)) this.stats.ack.record(now_ms - sent_ms)
    this.acked = { seq: welcome.last_seq, shard: 0, tick: 0 }
    this.welcome = welcome
    this.#resume = welcome.resume
    this.#refusals = 0
    this.#allowance = this.#rate
    this.#allowed_ms = now_ms
    this.#pinged_ms = -Infinity
    this.#called_ms = now_ms
    this.#ticked.clear()
    if (!Number.isNaN(this.#lost_ms)) this.stats.lost.record(now_ms - this.#lost_ms)
    this.#lost_ms = NaN
    this.#enter('playing', now_ms)
  }

  /** Messages a second we allow ourselves. */
  get #rate() {
    return Math.max(1, (this.welcome?.limits.messages_per_second_max || 60) * RATE_SHARE)
  }

  /** @param {number} now_ms @returns {boolean} whether one more message may go */
  #maySend(now_ms) {
    this.#allowance = Math.min(this.#rate, this.#allowance + ((now_ms - this.#allowed_ms) / 1000) * this.#rate)
    this.#allowed_ms = now_ms
    return this.#allowance >= 1
  }

  /** @param {number} now_ms */
  #sendInputs(now_ms) {
    while (this.inputs.ready && this.#maySend(now_ms)) {
      const input = this.inputs.next(now_ms)
      if (!input) return
      this.stats.inputsSent++
      this.#send(encodeInput(input), now_ms)
    }
  }

  /** @param {number} now_ms */
  #ping(now_ms) {
    if (!this.#maySend(now_ms)) return
    this.#pinged_ms = now_ms
    this.#nonce = (this.#nonce + 1) >>> 0 || 1
    if (this.#pings.size >= PINGS_OPEN_MAX) this.#pings.clear()
    this.#pings.set(this.#nonce, now_ms)
    this.#send(encodePing(this.#nonce), now_ms)
  }

  /** @param {Uint8Array<ArrayBuffer>} bytes @param {number} now_ms */
  #send(bytes, now_ms) {
    this.#allowance -= 1
    this.stats.sent(bytes.length, now_ms)
    this.#outgoing.push(bytes)
  }

  /** @param {SessionState} state @param {number} now_ms */
  #enter(state, now_ms) {
    this.state = state
    this.#since_ms = now_ms
  }
}
