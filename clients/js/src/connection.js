/**
 * The shell around `Session` and `Mirror`: opens websockets, carries bytes, calls back. Decides nothing by itself.
 */

import { Emitter } from './events.js'
import { Interpolator } from './interpolate.js'
import { Mirror, MirrorError } from './mirror.js'
import { CLOSE_BROKEN_PICTURE, policyOf } from './policy.js'
import { Session } from './session.js'
import { Steering } from './steering.js'
import { NoticeCode, WireError } from './wire.js'

/** @typedef {import('./session.js').CloseDecision} CloseDecision */
/** @typedef {import('./session.js').SessionState} SessionState */
/** @typedef {import('./wire.js').Frame} Frame */
/** @typedef {import('./wire.js').Notice} Notice */
/** @typedef {import('./wire.js').Welcome} Welcome */
/** @typedef {import('./mirror.js').TickSeen} TickSeen */

/** @typedef {{token: string, url?: string, urls?: readonly string[]}} Ticket */

/**
 * The part of a WebSocket this shell uses: the browser's, Node 22's, or one passed in.
 * @typedef {{
 *   binaryType: string, readyState: number, send(data: Uint8Array<ArrayBuffer>): void, close(code?: number, reason?: string): void,
 *   onopen: ((event: any) => void) | null, onmessage: ((event: any) => void) | null,
 *   onclose: ((event: any) => void) | null, onerror: ((event: any) => void) | null
 * }} Socket
 */

/**
 * `ticket` is called for the first socket and whenever the server asks for a new token. `light`: ticks, acks and the own values, and no
 * picture: for bots that look at nothing.
 * @typedef {{
 *   title: string,
 *   ticket: () => Ticket | Promise<Ticket>,
 *   client?: string,
 *   light?: boolean,
 *   WebSocket?: new (url: string) => Socket,
 *   now?: () => number,
 *   random?: () => number
 * }} ConnectOptions
 */

const ADVANCE_EVERY_MS = 50
const OPEN = 1
const TICKET_MS_MAX = 10_000

/**
 * Events: `state(state, decision)` (`decision` says why and what next after a close), `welcome`, `frame(frame, seen)` after the mirror
 * took it, `notice`. Those of entities are on `mirror`.
 *
 * @extends {Emitter<{
 *   state: [SessionState, CloseDecision | null], welcome: [Welcome], frame: [Frame, readonly TickSeen[]], notice: [Notice]
 * }>}
 */
export class Client extends Emitter {
  mirror = new Mirror()
  interpolator = new Interpolator()
  /** @type {Session} */ session
  /** Set once `predict` was called. @type {Steering | null} */ steering = null
  /** The address in use. */
  url = ''

  #options
  #now
  /** @type {Socket | null} */ #socket = null
  /** @type {Ticket | null} */ #ticket = null
  #gateway = 0
  /** The server has said that the player's part of the world stands still, and not that it goes on. */
  #stalled = false
  /** @type {ReturnType<typeof setInterval> | undefined} */ #timer
  /** @type {ReturnType<typeof setTimeout> | undefined} */ #retry
  /** @type {SessionState} */ #told = 'idle'

  /** @param {ConnectOptions} options */
  constructor(options) {
    super()
    this.#options = options
    this.#now = options.now ?? (() => performance.now())
    this.session = new Session({ title: options.title, client: options.client, random: options.random, light: options.light })
  }

  /** @returns {SessionState} */
  get state() {
    return this.session.state
  }

  /** Opens the first socket. @returns {this} */
  connect() {
    if (this.state !== 'idle') throw new Error(`a client connects once; this one is ${this.state}`)
    this.#timer = setInterval(() => this.#advance(), ADVANCE_EVERY_MS)
    void this.#open()
    return this
  }

  /**
   * Gives the server one command of the player.
   *
   * @param {string | number} kind
   * @param {readonly number[] | Readonly<Record<string, number>>} values
   * @param {{latest?: boolean, seen?: number, aimed?: boolean}} [options] `latest`: of those not sent yet only the newest matters;
   *   `seen`: what `seen` or `sight` gave; `aimed`: it is judged by what is drawn now
   * @returns {boolean} false where it could not be taken: never connected, over, or too many wait
   */
  send(kind, values, options = {}) {
    if (!this.session.welcome || this.state === 'over') return false
    const due_tick = this.steering?.due(this.#now()) ?? 0
    const taken = this.session.inputs.add(kind, values, { ...options, seen_tick: Math.floor(options.seen ?? this.seen()), due_tick })
    this.steering?.predictor.changed()
    if (taken && options.aimed) this.steering?.aimed(due_tick)
    this.#advance()
    return taken
  }

  /**
   * From now on inputs act on the own avatar at once, by the title's rule: `steering.shown` says where to draw it. Call again when
   * a welcome tells of another world.
   *
   * @param {import('./prediction.js').Prediction} prediction
   * @returns {Steering}
   */
  predict(prediction) {
    if (this.#options.light) throw new Error('a light client keeps no picture of its avatar')
    return (this.steering = new Steering(prediction, this.session, this.mirror, this.interpolator))
  }

  /**
   * @returns {number} the tick, with its fraction, at which the player sees others now: a little in the past, and no later than the newest
   * that was told. 0 where not known
   */
  seen() {
    const avatar = this.mirror.avatar
    const clock = avatar && this.interpolator.clock(avatar.shard)
    if (!clock) return 0
    const told = this.mirror.shards.get(avatar.shard)?.tick ?? 0
    return Math.min(told, Math.max(0, clock.tickAt(clock.time(this.#now()) - this.interpolator.delay_ms)))
  }

  /**
   * What the player sees of others in the avatar's shard now, as drawn.
   *
   * @param {number} [now_ms]
   * @returns {import('./interpolate.js').Sight | null} null where nothing is
   */
  sight(now_ms = this.#now()) {
    const avatar = this.mirror.avatar
    return avatar ? this.interpolator.sight(avatar.shard, now_ms) : null
  }

  /** Leaves for good. */
  bye() {
    this.session.bye(this.#now())
    this.#flush()
    this.#finish(1000)
  }

  /** Closes without a word: the session waits on the server for its grace time, but this client is done. */
  close() {
    this.session.state = 'over'
    this.#finish(1000)
  }

  /** What an overlay shows. Rates are over the last two seconds. */
  numbers() {
    const now = this.#now()
    const { session, mirror, interpolator } = this
    const avatar = mirror.avatar
    const home = avatar ? avatar.shard : [...mirror.shards.keys()][0]
    const mark = home === undefined ? undefined : mirror.shards.get(home)
    return {
      state: session.state,
      gateway: this.url,
      ping_ms: session.clock.round_trip_ms,
      jitter_ms: home === undefined ? 0 : (interpolator.clock(home)?.jitter_ms ?? 0),
      delay_ms: interpolator.delay_ms,
      shard: home ?? -1,
      epoch: mark?.epoch ?? 0,
      tick: mark?.tick ?? 0,
      tick_interval_ms: (mark?.tick_interval_us ?? session.welcome?.tick_interval_us ?? 0) / 1000,
      entities: mirror.size,
      cells: mirror.cellsHeld,
      bytes_in_per_second: session.stats.bytesInPerSecond(now),
      bytes_out_per_second: session.stats.bytesOutPerSecond(now),
      frames_per_second: session.stats.framesPerSecond(now),
      frames_dropped: mirror.framesDropped,
      inputs_sent: session.stats.inputsSent,
      inputs_pending: session.inputs.pending.length,
      inputs_late: this.steering?.predictor.late ?? 0,
      lead_ms: this.steering?.lead.ms ?? 0,
      mispredicted: this.steering?.predictor.mispredicted ?? 0,
      acked: session.acked.seq,
      sockets: session.stats.sockets,
      resumes: session.stats.resumes,
      errors: session.stats.errors,
    }
  }

  // ------------------------------------------------------------ sockets

  async #open() {
    this.session.opening(this.#now())
    this.#tell(null)
    try {
      this.#ticket ??= await withTimeout(Promise.resolve(this.#options.ticket()), TICKET_MS_MAX)
      if (this.session.state !== 'connecting') return
      const ticket = this.#ticket
      const urls = ticket.urls?.length ? ticket.urls : ticket.url ? [ticket.url] : []
      if (!urls.length) throw new Error('the ticket names no address')
      this.url = urls[this.#gateway % urls.length]
      this.#attach(new (this.#socketClass())(this.url), ticket.token)
    } catch (error) {
      this.#closed(1006, error instanceof Error ? error.message : String(error))
    }
  }

  /** @param {Socket} socket @param {string} token */
  #attach(socket, token) {
    this.#socket = socket
    socket.binaryType = 'arraybuffer'
    const current = () => this.#socket === socket
    socket.onopen = () => {
      if (!current()) return
      this.session.opened(token, this.#now())
      this.#tell(null)
      this.#flush()
    }
    socket.onmessage = (event) => {
      if (current()) this.#receive(event.data)
    }
    socket.onclose = (event) => {
      if (current()) this.#closed(event.code ?? 1006, event.reason ?? '')
    }
    // What went wrong is not told to scripts; the close that follows says as much as there is.
    socket.onerror = () => {}
  }

  /** @param {unknown} data */
  #receive(data) {
    const now = this.#now()
    try {
      const bytes = data instanceof Uint8Array ? data : data instanceof ArrayBuffer ? new Uint8Array(data) : null
      if (!bytes) throw new WireError('a text message')
      const frame = this.session.received(bytes, now)
      if (frame.welcomes.length) {
        this.interpolator.restart()
        this.steering?.begin()
      }
      const seen = this.mirror.apply(frame)
      if (!seen) return
      this.steering?.acks(frame.acks)
      this.session.accept(frame, now)
      this.interpolator.record(this.mirror, seen, now)
      this.#stand(frame, now)
      this.steering?.frame(seen, now)
      this.#tell(null)
      for (const welcome of frame.welcomes) this.emit('welcome', welcome)
      for (const notice of frame.notices) this.emit('notice', notice)
      this.emit('frame', frame, seen)
    } catch (error) {
      if (!(error instanceof WireError || error instanceof MirrorError)) throw error
      this.session.stats.errors++
      this.session.wantsClose = { code: CLOSE_BROKEN_PICTURE, reason: error.message }
    }
    this.#flush()
  }

  /** While the avatar's shard stands still, so does all that is drawn of it. @param {Frame} frame @param {number} now_ms */
  #stand(frame, now_ms) {
    if (frame.welcomes.length) this.#stalled = false
    for (const { code } of frame.notices) {
      if (code === NoticeCode.STALLED || code === NoticeCode.RESUMED) this.#stalled = code === NoticeCode.STALLED
    }
    const avatar = this.mirror.avatar
    const clock = avatar && this.interpolator.clock(avatar.shard)
    if (this.#stalled) clock?.hold(now_ms)
    else clock?.release(now_ms)
  }

  #advance() {
    this.session.advance(this.#now())
    this.#flush()
  }

  #flush() {
    const socket = this.#socket
    const wants = this.session.wantsClose
    if (wants) {
      this.session.wantsClose = null
      this.#dropSocket(wants.code, wants.reason)
      this.#closed(wants.code, wants.reason)
      return
    }
    const outgoing = this.session.takeOutgoing()
    if (socket?.readyState === OPEN) for (const bytes of outgoing) socket.send(bytes)
  }

  /** @param {number} code @param {string} reason */
  #closed(code, reason) {
    this.#socket = null
    const decision = this.session.closed(code, reason, this.#now())
    if (decision.freshToken) this.#ticket = null
    if (decision.elsewhere) this.#gateway++
    this.#tell(decision)
    if (decision.again) this.#retry = setTimeout(() => void this.#open(), decision.after_ms)
    else this.#finish(1000)
  }

  /** Lets go of the socket without waiting for the other side to answer the close. @param {number} code @param {string} reason */
  #dropSocket(code, reason) {
    const socket = this.#socket
    this.#socket = null
    if (!socket) return
    socket.onopen = socket.onmessage = socket.onclose = null
    socket.close(code, new TextDecoder().decode(new TextEncoder().encode(reason).slice(0, 120)).replace(/\uFFFD+$/, ''))
  }

  /** @param {number} code */
  #finish(code) {
    clearInterval(this.#timer)
    clearTimeout(this.#retry)
    this.#dropSocket(code, policyOf(code).name)
    this.#tell(null)
  }

  /** @param {CloseDecision | null} decision */
  #tell(decision) {
    if (this.session.state === this.#told && !decision) return
    this.#told = this.session.state
    this.emit('state', this.session.state, decision)
  }

  /** @returns {new (url: string) => Socket} */
  #socketClass() {
    const found = this.#options.WebSocket ?? /** @type {any} */ (globalThis).WebSocket
    if (!found) throw new Error('no WebSocket here: pass one in (Node has its own from version 22 on)')
    return found
  }
}

/**
 * @template T
 * @param {Promise<T>} promise
 * @param {number} ms
 * @returns {Promise<T>}
 */
function withTimeout(promise, ms) {
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`no ticket within ${ms} ms`)), ms)
  })
  return Promise.race([promise, /** @type {Promise<never>} */ (late)]).finally(() => clearTimeout(timer))
}

/** A client that is on its way. @param {ConnectOptions} options @returns {Client} */
export function connect(options) {
  return new Client(options).connect()
}
