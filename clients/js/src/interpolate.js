/**
 * Where to draw things between ticks. Pure: calls are given the local time in milliseconds.
 *
 * Two ways, by entity and call:
 *
 * - `interpolated`: a little in the past, between two states the server really sent. The delay adapts to the measured jitter, so
 *   that the later of the two is nearly always there. For what others control.
 * - `predicted`: now, by the motion rule from the newest state. Exact for what moves straight, and without delay. When a new
 *   state disagrees, the difference melts away instead of jumping. For the player's own avatar and for shots.
 *
 * Positions move along their velocity, columns that wrap (angles) turn the short way, everything else is read from the mirror.
 *
 * What is interpolated lies at whole 256ths of ticks, and `sight` says which: a title that judges by what its players saw can compute
 * it again in whole numbers. The Python SDK draws by the same rule (`tests/client/test_drawn_alike.py`).
 */

import { moment, PARTS, TickClock } from './clock.js'

/** @typedef {import('./mirror.js').Mirror} Mirror */
/** @typedef {import('./mirror.js').TickSeen} TickSeen */
/** @typedef {import('./rows.js').Rows} Rows */
/** @typedef {import('./rows.js').KindLayout} KindLayout */

/**
 * A place to draw at: position units, position units per tick, and each wrapping column by its name.
 * @typedef {{x: number, y: number, vx: number, vy: number} & Record<string, number>} Placed
 */

/**
 * What is drawn of a shard's entities: `part` 256ths of a tick beyond their states of `tick`, on the straight way to those of `span`
 * ticks later; by their velocity where `span` is 0, because later ones had not come.
 * @typedef {{tick: number, part: number, span: number}} Sight
 */

/** States kept of each entity: enough for a delay of 15 ticks. */
const HISTORY = 16

/** After this long without a new state an entity is drawn where it is and goes no further. */
const EXTRAPOLATION_MS_MAX = 500

/** How fast a wrong prediction melts away: after this time 1/e of it is left. */
const MELT_MS = 70

/** A track whose entity is gone is kept this long, so that its end can be drawn when its time comes. */
const TRACK_KEPT_MS = 3000

const DELAY_MS_MAX = 400
const DELAY_MARGIN_MS = 4

/**
 * Channels of a track: x, y, then the columns that wrap.
 * @typedef {{columns: number[], modulo: number[], names: string[], moves: boolean}} Channels
 */

/** The newest states of one entity. */
class Track {
  /** @param {Channels} channels @param {number} shard */
  constructor(channels, shard) {
    this.channels = channels
    this.shard = shard
    this.count = 0
    this.head = HISTORY - 1
    this.ticks = new Float64Array(HISTORY)
    this.values = channels.columns.map(() => new Float64Array(HISTORY))
    /** Change of each wrapping channel per tick, as last seen. */
    this.turn = new Float64Array(channels.columns.length)
    this.snaps = new Uint8Array(HISTORY)
    this.vx = 0
    this.vy = 0
    /** Velocity of each state, x and y. */
    this.velocities = [new Float64Array(HISTORY), new Float64Array(HISTORY)]
    /** What is still melting of the last wrong prediction, by channel, as of `error_ms`. */
    this.error = new Float64Array(channels.columns.length)
    this.error_ms = 0
    this.seen_ms = 0
  }

  /** @param {number} back 0 for the newest @returns {number} index into the ring */
  slot(back) {
    return (this.head - back + HISTORY) % HISTORY
  }

  /** The state at a tick by the motion rule from the newest one. @param {number} channel @param {number} ticks beyond it */
  ahead(channel, ticks) {
    const value = this.values[channel][this.head]
    if (channel < 2 && this.channels.moves) return value + ticks * (channel ? this.vy : this.vx)
    // A turn is guessed one tick ahead at most: whoever turns also stops turning.
    return value + Math.max(-1, Math.min(1, ticks)) * this.turn[channel]
  }
}

/** See the module. One for each connection; give it every frame's ticks with `record`. */
export class Interpolator {
  /** @type {Map<number, TickClock>} */ #clocks = new Map()
  /** @type {Map<number, Track>} */ #tracks = new Map()
  /** @type {WeakMap<KindLayout, Channels>} */ #channels = new WeakMap()
  /** The newest ticks that frames ended with, by shard, ascending. @type {Map<number, number[]>} */ #told = new Map()
  #purged_ms = 0
  #snap = Infinity
  /** How far in the past `interpolated` draws, ms. */
  delay_ms = 100

  /** @param {number} shard @returns {TickClock | undefined} */
  clock(shard) {
    return this.#clocks.get(shard)
  }

  /** Starts all timelines anew (another gateway, another world); what is drawn stays until new states come. */
  restart() {
    this.#clocks.clear()
    this.#told.clear()
  }

  /**
   * Takes in the ticks a frame completed.
   *
   * @param {Mirror} mirror after it applied the frame
   * @param {readonly TickSeen[]} seen what `Mirror.apply` returned
   * @param {number} now_ms
   */
  record(mirror, seen, now_ms) {
    this.#snap = mirror.grid ? mirror.grid.cell_size / 2 : Infinity
    const fresh = seen.map(({ shard, tick, tick_interval_us }) => {
      let clock = this.#clocks.get(shard)
      if (!clock) this.#clocks.set(shard, (clock = new TickClock()))
      const anew = clock.observe(tick, tick_interval_us, now_ms)
      const told = anew ? [] : (this.#told.get(shard) ?? []).filter((t) => t < tick)
      this.#told.set(shard, [...told, tick].slice(-HISTORY))
      return { shard, tick, clock, anew }
    })
    for (const { shard, tick, clock, anew } of fresh) {
      mirror.eachRow(shard, (rows, row) => this.#push(rows, row, shard, clock, tick, anew, now_ms))
    }
    if (seen.length) this.#adaptDelay(seen)
    this.#purge(mirror, now_ms)
  }

  /**
   * What is drawn of a shard's entities that have been seen for a while.
   *
   * @param {number} shard
   * @param {number} now_ms
   * @returns {Sight | null} null before its first tick
   */
  sight(shard, now_ms) {
    const clock = this.#clocks.get(shard)
    const told = this.#told.get(shard)
    if (!clock || !told?.length) return null
    const at = moment(clock.tickAt(clock.time(now_ms) - this.delay_ms))
    const newest = told[told.length - 1]
    if (at >= newest * PARTS) return { tick: newest, part: Math.min(at - newest * PARTS, aheadMax(clock) * PARTS), span: 0 }
    if (at <= told[0] * PARTS) return { tick: told[0], part: 0, span: 0 }
    const second = told.findIndex((t) => t * PARTS > at)
    return { tick: told[second - 1], part: at - told[second - 1] * PARTS, span: told[second] - told[second - 1] }
  }

  /**
   * @param {number} id
   * @param {number} now_ms
   * @param {Placed} out
   * @returns {boolean} false where the entity is not known
   */
  interpolated(id, now_ms, out) {
    const track = this.#tracks.get(id)
    const clock = track && this.#clocks.get(track.shard)
    if (!track || !track.count) return false
    const newest = track.ticks[track.head]
    if (!clock) return this.#still(track, out)
    const tick = moment(clock.tickAt(clock.time(now_ms) - this.delay_ms)) / PARTS
    if (tick >= newest) {
      const ticks = Math.min(tick - newest, aheadMax(clock))
      this.#write(track, out, (channel) => track.ahead(channel, ticks))
      return true
    }
    let back = 1
    while (back < track.count && track.ticks[track.slot(back)] > tick) back++
    if (back >= track.count) {
      // Before the first state we have: where it came from, by its motion.
      const first = track.slot(track.count - 1)
      const ticks = tick - track.ticks[first]
      this.#write(track, out, (channel) => track.values[channel][first] + (channel < 2 ? ticks * track.velocities[channel][first] : 0))
      return true
    }
    this.#between(track, track.slot(back), track.slot(back - 1), tick, out)
    return true
  }

  /**
   * @param {number} id
   * @param {number} now_ms
   * @param {Placed} out
   * @returns {boolean} false where the entity is not known
   */
  predicted(id, now_ms, out) {
    const track = this.#tracks.get(id)
    const clock = track && this.#clocks.get(track.shard)
    if (!track || !track.count) return false
    if (!clock) return this.#still(track, out)
    const ticks = this.#ticksAhead(track, clock, now_ms)
    const left = Math.exp(-Math.max(0, now_ms - track.error_ms) / MELT_MS)
    this.#write(track, out, (channel) => track.ahead(channel, ticks) + track.error[channel] * left)
    return true
  }

  // ------------------------------------------------------------ recording

  /**
   * @param {Rows} rows
   * @param {number} row
   * @param {number} shard
   * @param {TickClock} clock
   * @param {number} tick
   * @param {boolean} anew
   * @param {number} now_ms
   */
  #push(rows, row, shard, clock, tick, anew, now_ms) {
    const id = rows.ids[row]
    let track = this.#tracks.get(id)
    if (!track) {
      const channels = this.#channelsOf(rows.layout)
      if (!channels.columns.length) return
      this.#tracks.set(id, (track = new Track(channels, shard)))
    }
    if (track.shard !== shard || anew) this.#changeTimeline(track, shard, clock, tick, anew)
    // Out of sight for a while: between what was and what is lies no straight way.
    else if (track.count && track.ticks[track.head] < (this.#told.get(shard)?.at(-2) ?? 0)) track.count = 0
    const before = track.count ? track.values.map((_, c) => this.#guess(track, clock, c, now_ms)) : null
    const last = track.count ? track.head : -1
    const ticks = last >= 0 ? Math.max(1, tick - track.ticks[last]) : 1
    track.head = (track.head + 1) % HISTORY
    track.count = Math.min(HISTORY, track.count + 1)
    track.ticks[track.head] = tick
    track.seen_ms = now_ms
    if (track.channels.moves) {
      track.vx = track.velocities[0][track.head] = rows.columns[2][row]
      track.vy = track.velocities[1][track.head] = rows.columns[3][row]
    }
    track.channels.columns.forEach((column, c) => {
      const value = rows.columns[column][row]
      track.values[c][track.head] = value
      const modulo = track.channels.modulo[c]
      if (modulo && last >= 0) track.turn[c] = shortWay(value - track.values[c][last], modulo) / ticks
    })
    track.snaps[track.head] = last >= 0 && this.#jumped(track, last, ticks) ? 1 : 0
    if (before) this.#noteError(track, clock, before, now_ms)
  }

  /** Gives a track's states the tick numbers of another timeline. @param {Track} track @param {number} shard @param {TickClock} clock @param {number} tick @param {boolean} anew */
  #changeTimeline(track, shard, clock, tick, anew) {
    const old = this.#clocks.get(track.shard)
    track.shard = shard
    if (anew || !old) {
      // After a pause what came before is history: only the newest state is kept, one tick back.
      if (track.count) {
        track.ticks[track.head] = tick - 1
        track.count = 1
      }
      return
    }
    for (let back = 0; back < track.count; back++) {
      const slot = track.slot(back)
      track.ticks[slot] = Math.min(clock.tickAt(old.timeOf(track.ticks[slot])), tick - 0.5 - back * 1e-6)
    }
  }

  /** @param {Track} track @param {number} last @param {number} ticks */
  #jumped(track, last, ticks) {
    if (!track.channels.moves) return false
    const dx = track.values[0][track.head] - track.values[0][last] - track.vx * ticks
    const dy = track.values[1][track.head] - track.values[1][last] - track.vy * ticks
    return Math.hypot(dx, dy) > this.#snap + 4 * ticks * (Math.abs(track.vx) + Math.abs(track.vy))
  }

  /** @param {Track} track @param {TickClock} clock @param {number} channel @param {number} now_ms */
  #guess(track, clock, channel, now_ms) {
    const left = Math.exp(-Math.max(0, now_ms - track.error_ms) / MELT_MS)
    return track.ahead(channel, this.#ticksAhead(track, clock, now_ms)) + track.error[channel] * left
  }

  /** What was drawn minus what is now known goes into the melting error. @param {Track} track @param {TickClock} clock @param {number[]} before @param {number} now_ms */
  #noteError(track, clock, before, now_ms) {
    const snap = track.snaps[track.head]
    const ticks = this.#ticksAhead(track, clock, now_ms)
    before.forEach((guess, c) => {
      const modulo = track.channels.modulo[c]
      const error = guess - track.ahead(c, ticks)
      track.error[c] = snap ? 0 : modulo ? shortWay(error, modulo) : error
    })
    track.error_ms = now_ms
  }

  /** @param {Track} track @param {TickClock} clock @param {number} now_ms */
  #ticksAhead(track, clock, now_ms) {
    const ticks = clock.tickAt(clock.time(now_ms)) - track.ticks[track.head]
    return Math.max(0, Math.min(ticks, EXTRAPOLATION_MS_MAX / clock.interval_ms))
  }

  /** @param {readonly TickSeen[]} seen */
  #adaptDelay(seen) {
    let wanted = 0
    for (const clock of this.#clocks.values()) wanted = Math.max(wanted, clock.interval_ms + clock.jitter_ms + DELAY_MARGIN_MS)
    wanted = Math.min(wanted, DELAY_MS_MAX)
    // Longer at once (states are missing now), shorter slowly (nobody sees time run 2 % faster).
    const step = seen[0].tick_interval_us / 1000 / 50
    this.delay_ms = wanted > this.delay_ms ? Math.min(wanted, this.delay_ms + step * 10) : Math.max(wanted, this.delay_ms - step)
  }

  /** @param {Mirror} mirror @param {number} now_ms */
  #purge(mirror, now_ms) {
    if (now_ms - this.#purged_ms < 1000) return
    this.#purged_ms = now_ms
    for (const [id, track] of this.#tracks) {
      if (now_ms - track.seen_ms > TRACK_KEPT_MS && !mirror.has(id)) this.#tracks.delete(id)
    }
    for (const [shard, clock] of this.#clocks) {
      if (now_ms - clock.timeOf(mirror.shards.get(shard)?.tick ?? 0) > 60_000) this.#clocks.delete(shard)
    }
  }

  /** @param {KindLayout} layout @returns {Channels} */
  #channelsOf(layout) {
    let channels = this.#channels.get(layout)
    if (!channels) {
      const columns = layout.names.map((_, i) => i).filter((i) => (layout.moves && i < 2) || layout.modulo[i])
      channels = {
        columns,
        modulo: columns.map((i) => layout.modulo[i]),
        names: columns.map((i) => layout.names[i]),
        moves: layout.moves,
      }
      this.#channels.set(layout, channels)
    }
    return channels
  }

  // ------------------------------------------------------------ reading

  /** @param {Track} track @param {number} a @param {number} b @param {number} tick @param {Placed} out */
  #between(track, a, b, tick, out) {
    const span = track.ticks[b] - track.ticks[a]
    const t = track.snaps[b] ? 0 : span > 0 ? (tick - track.ticks[a]) / span : 1
    this.#write(track, out, (channel) => {
      const from = track.values[channel][a]
      const modulo = track.channels.modulo[channel]
      const step = track.values[channel][b] - from
      return from + t * (modulo ? shortWay(step, modulo) : step)
    })
  }

  /** @param {Track} track @param {Placed} out */
  #still(track, out) {
    this.#write(track, out, (channel) => track.values[channel][track.head])
    return true
  }

  /** @param {Track} track @param {Placed} out @param {(channel: number) => number} value */
  #write(track, out, value) {
    out.vx = track.vx
    out.vy = track.vy
    const { names, modulo } = track.channels
    for (let c = 0; c < names.length; c++) {
      const v = value(c)
      ;/** @type {Record<string, number>} */ (out)[names[c]] = modulo[c] ? ((v % modulo[c]) + modulo[c]) % modulo[c] : v
    }
  }
}

/** How far beyond its newest state anything is drawn: ticks, in whole 256ths. @param {TickClock} clock */
function aheadMax(clock) {
  return moment(EXTRAPOLATION_MS_MAX / clock.interval_ms) / PARTS
}

/** @param {number} difference @param {number} modulo @returns {number} the same turn, the short way round */
export function shortWay(difference, modulo) {
  const half = modulo / 2
  return ((((difference + half) % modulo) + modulo) % modulo) - half
}
