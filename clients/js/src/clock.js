/**
 * What time it is on the server, as far as a client can tell. Pure: every call is given the local time in milliseconds (of a
 * clock that never jumps, like `performance.now()`).
 *
 * Two clocks: `ServerClock` from pings (round trip and offset), and one `TickClock` a shard from the arrival of its ticks, which is
 * what drawing needs: it follows time dilation and pauses, because those change when ticks come.
 */

/** Pings remembered: the one with the shortest round trip tells the offset best, as in NTP's clock filter (RFC 5905). */
const PING_WINDOW = 12

/** Round trip and offset from pings. */
export class ServerClock {
  /** @type {{round_trip_ms: number, offset_ms: number}[]} */ #samples = []
  /** Smoothed round trip, ms; 0 before the first answer. */
  round_trip_ms = 0

  /**
   * @param {number} sent_ms local time the ping left
   * @param {number} received_ms local time the answer came
   * @param {number} server_time_us the gateway's clock in between
   */
  observe(sent_ms, received_ms, server_time_us) {
    const round_trip_ms = Math.max(0, received_ms - sent_ms)
    const offset_ms = server_time_us / 1000 - (sent_ms + received_ms) / 2
    this.round_trip_ms = this.#samples.length ? this.round_trip_ms * 0.75 + round_trip_ms * 0.25 : round_trip_ms
    this.#samples.push({ round_trip_ms, offset_ms })
    if (this.#samples.length > PING_WINDOW) this.#samples.shift()
  }

  /** Forgets everything: each gateway has a clock of its own. */
  reset() {
    this.#samples = []
    this.round_trip_ms = 0
  }

  /** @returns {number} server time minus local time, ms; NaN before the first answer */
  get offset_ms() {
    if (!this.#samples.length) return NaN
    return this.#samples.reduce((best, s) => (s.round_trip_ms < best.round_trip_ms ? s : best)).offset_ms
  }

  /** @returns {number} the offset is right to within this, ms; NaN before the first answer */
  get error_ms() {
    return this.#samples.length ? this.round_trip_least_ms / 2 : NaN
  }

  /** @returns {number} the shortest round trip of the last few, ms; 0 before the first answer */
  get round_trip_least_ms() {
    return this.#samples.length ? Math.min(...this.#samples.map((s) => s.round_trip_ms)) : 0
  }

  /** @param {number} now_ms @returns {number} the gateway's clock now, ms; NaN before the first answer */
  now(now_ms) {
    return now_ms + this.offset_ms
  }
}

/** A tick's parts in which clients draw: whole ones, so that a server can be told exactly what was drawn. */
export const PARTS = 256

/** @param {number} tick @returns {number} the whole part of a tick, in 256ths of ticks, that is drawn at this tick */
export function moment(tick) {
  return Math.floor(tick * PARTS)
}

/** Ticks whose lateness is remembered to measure jitter: about three seconds at 20 Hz. */
const LATENESS_WINDOW = 64

/** A tick later than this is no jitter: the shard paused or moved, and the timeline starts anew. */
const PAUSE_MS = 400

/** How fast the timeline may drift towards later arrivals, ms a tick: far above a quartz's drift, far below what shows. */
const DRIFT_MS_PER_TICK = 0.25

/**
 * When the ticks of one shard happen, in local time. Ticks never arrive early, so the least late ones of the last seconds tell the
 * true beat; how late the others are is the jitter.
 */
export class TickClock {
  #tick = 0
  /** Local time at which tick `#tick` arrives when nothing delays it. */
  #beat_ms = 0
  #started = false
  /** @type {number[]} */ #lateness = []
  /** Since when the world stands still; NaN where it does not. */
  #held_ms = NaN
  interval_ms = 50

  /**
   * @param {number} tick
   * @param {number} tick_interval_us how long it lasts, until the next one
   * @param {number} now_ms when it arrived
   * @returns {boolean} whether the timeline had to start anew (first tick, pause, long loss)
   */
  observe(tick, tick_interval_us, now_ms) {
    if (!Number.isNaN(this.#held_ms)) {
      // How late ticks were before says nothing about those after.
      this.release(now_ms)
      this.#lateness = []
    }
    // By what the tick before said of itself.
    const expected_ms = this.#beat_ms + (tick - this.#tick) * this.interval_ms
    this.interval_ms = tick_interval_us / 1000
    if (!this.#started) return this.#restart(tick, now_ms)
    const late_ms = now_ms - expected_ms
    if (late_ms > PAUSE_MS || late_ms < -PAUSE_MS) return this.#restart(tick, now_ms)
    this.#tick = tick
    this.#beat_ms = expected_ms
    this.#lateness.push(late_ms)
    if (this.#lateness.length > LATENESS_WINDOW) this.#lateness.shift()
    const least_ms = Math.min(...this.#lateness)
    this.#shift(least_ms < 0 ? least_ms : Math.min(least_ms, DRIFT_MS_PER_TICK))
    return false
  }

  /** The server says that the world stands still: time stands with it, until a tick comes or `release`. @param {number} now_ms */
  hold(now_ms) {
    if (Number.isNaN(this.#held_ms)) this.#held_ms = now_ms
  }

  /** The world goes on from where it stood. @param {number} now_ms */
  release(now_ms) {
    if (Number.isNaN(this.#held_ms)) return
    this.#beat_ms += Math.max(0, now_ms - this.#held_ms)
    this.#held_ms = NaN
  }

  /** @param {number} now_ms @returns {number} the local time that counts for the world: it stands while the world does */
  time(now_ms) {
    return Number.isNaN(this.#held_ms) ? now_ms : Math.min(now_ms, this.#held_ms)
  }

  /** @param {number} now_ms @returns {number} the tick that happens now, with fraction */
  tickAt(now_ms) {
    return this.#tick + (now_ms - this.#beat_ms) / this.interval_ms
  }

  /** @param {number} tick @returns {number} local time of a tick, ms */
  timeOf(tick) {
    return this.#beat_ms + (tick - this.#tick) * this.interval_ms
  }

  /** @returns {number} the lateness that 19 of 20 ticks stay below, ms */
  get jitter_ms() {
    if (!this.#lateness.length) return 0
    const sorted = [...this.#lateness].sort((a, b) => a - b)
    return Math.max(0, sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.95))])
  }

  /** @returns {number} the greatest lateness remembered, ms */
  get jitter_max_ms() {
    return Math.max(0, ...this.#lateness)
  }

  /** @param {number} by_ms */
  #shift(by_ms) {
    if (!by_ms) return
    this.#beat_ms += by_ms
    this.#lateness = this.#lateness.map((late) => late - by_ms)
  }

  /** @param {number} tick @param {number} now_ms */
  #restart(tick, now_ms) {
    this.#started = true
    this.#tick = tick
    this.#beat_ms = now_ms
    this.#lateness = []
    return true
  }
}
