/** Counts what a client sends, receives and suffers. Pure: calls are given the local time in milliseconds. */

const WINDOW_MS = 2000
/** A bound on the memory of one window, whatever comes in: beyond it the oldest entries go. */
const ENTRIES_MAX = 4096

/** Sum over the last two seconds, per second. */
class Rate {
  /** @type {{at_ms: number, amount: number}[]} */ #entries = []
  #sum = 0
  #since_ms = NaN

  /** @param {number} amount @param {number} now_ms */
  add(amount, now_ms) {
    if (Number.isNaN(this.#since_ms)) this.#since_ms = now_ms
    this.#entries.push({ at_ms: now_ms, amount })
    this.#sum += amount
    this.#expire(now_ms)
  }

  /** @param {number} now_ms @returns {number} per second */
  perSecond(now_ms) {
    this.#expire(now_ms)
    if (Number.isNaN(this.#since_ms)) return 0
    return (this.#sum * 1000) / Math.min(WINDOW_MS, Math.max(250, now_ms - this.#since_ms))
  }

  /** @param {number} now_ms */
  #expire(now_ms) {
    let gone = 0
    while (gone < this.#entries.length) {
      const entry = this.#entries[gone]
      if (entry.at_ms > now_ms - WINDOW_MS && this.#entries.length - gone <= ENTRIES_MAX) break
      this.#sum -= entry.amount
      gone++
    }
    if (gone) this.#entries.splice(0, gone)
  }
}

/** See the module. All totals count since the start, over all sockets. */
export class Stats {
  bytesIn = 0
  bytesOut = 0
  framesIn = 0
  inputsSent = 0
  sockets = 0
  resumes = 0
  errors = 0
  #in = new Rate()
  #out = new Rate()
  #frames = new Rate()

  /** @param {number} bytes @param {number} now_ms */
  received(bytes, now_ms) {
    this.bytesIn += bytes
    this.framesIn++
    this.#in.add(bytes, now_ms)
    this.#frames.add(1, now_ms)
  }

  /** @param {number} bytes @param {number} now_ms */
  sent(bytes, now_ms) {
    this.bytesOut += bytes
    this.#out.add(bytes, now_ms)
  }

  /** @param {number} now_ms @returns {number} */
  bytesInPerSecond(now_ms) {
    return this.#in.perSecond(now_ms)
  }

  /** @param {number} now_ms @returns {number} */
  bytesOutPerSecond(now_ms) {
    return this.#out.perSecond(now_ms)
  }

  /** @param {number} now_ms @returns {number} */
  framesPerSecond(now_ms) {
    return this.#frames.perSecond(now_ms)
  }
}
