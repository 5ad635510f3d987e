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

/** Buckets to each doubling, as powers of two: a time is known to within 1/64 of itself. */
const SUB_BITS = 6
const SUB = 1 << SUB_BITS

/**
 * Times in whole microseconds, in buckets that grow with the value (the layout of HDR histograms, Tene 2012). Constant memory, exact
 * count and extremes, quantiles to within 1.6 %. The Python SDK's `Histogram` is the same: `toPlain` is what its `from_plain` reads.
 */
export class Histogram {
  /** @type {Map<number, number>} */ counts = new Map()
  total_us = 0
  maximum_us = 0

  /** @returns {number} how many times were recorded */
  get count() {
    return [...this.counts.values()].reduce((sum, n) => sum + n, 0)
  }

  /** One time; a negative one counts as 0. @param {number} ms */
  record(ms) {
    const us = Math.max(0, Math.floor(ms * 1000))
    const shift = us < SUB ? 0 : Math.floor(Math.log2(us)) - SUB_BITS
    const bucket = us < SUB ? us : Math.min(shift * SUB + Math.floor(us / 2 ** shift), 64 * SUB)
    this.counts.set(bucket, (this.counts.get(bucket) ?? 0) + 1)
    this.total_us += us
    this.maximum_us = Math.max(this.maximum_us, us)
  }

  /** Adds another one's times. @param {Histogram} other */
  add(other) {
    for (const [bucket, n] of other.counts) this.counts.set(bucket, (this.counts.get(bucket) ?? 0) + n)
    this.total_us += other.total_us
    this.maximum_us = Math.max(this.maximum_us, other.maximum_us)
  }

  /** @param {number} share 0..1 @returns {number} the upper edge of the bucket in which this share of all times lies, ms; 0 without any */
  quantile_ms(share) {
    const wanted = share * this.count
    let seen = 0
    for (const [bucket, n] of [...this.counts].sort(([a], [b]) => a - b)) {
      seen += n
      if (seen >= wanted) return Math.min(upperEdge(bucket), this.maximum_us) / 1000
    }
    return 0
  }

  /** Figures for people. */
  summary() {
    const { count } = this
    const [p50_ms, p95_ms, p99_ms] = [0.5, 0.95, 0.99].map((share) => this.quantile_ms(share))
    const mean_ms = count ? Math.round(this.total_us / count) / 1000 : 0
    return { count, mean_ms, p50_ms, p95_ms, p99_ms, max_ms: this.maximum_us / 1000 }
  }

  /** @returns {{counts: Record<string, number>, total_us: number, maximum_us: number}} for JSON, and nothing lost */
  toPlain() {
    return { counts: Object.fromEntries(this.counts), total_us: this.total_us, maximum_us: this.maximum_us }
  }

  /** @param {{counts: Record<string, number>, total_us: number, maximum_us: number}} plain what `toPlain` gave @returns {Histogram} */
  static fromPlain({ counts, total_us, maximum_us }) {
    const histogram = new Histogram()
    histogram.counts = new Map(Object.entries(counts).map(([bucket, n]) => [Number(bucket), n]))
    return Object.assign(histogram, { total_us, maximum_us })
  }
}

/** @param {number} bucket */
function upperEdge(bucket) {
  if (bucket < 2 * SUB) return bucket
  const shift = Math.floor(bucket / SUB) - 1
  return (bucket - shift * SUB + 1) * 2 ** shift - 1
}

/** See the module. All totals count since the start, over all sockets. */
export class Stats {
  /** Time from a tick of the own avatar's shard to its next one, as they came. */
  gap = new Histogram()
  /** Time from an input's first sending to its ack. */
  ack = new Histogram()
  /** Time from a ping to its pong. */
  round_trip = new Histogram()
  /** Time from a lost socket to the next welcome. */
  lost = new Histogram()
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
