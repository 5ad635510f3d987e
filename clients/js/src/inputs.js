/**
 * The player's inputs from the moment they are made until the server has applied them. Pure.
 *
 * An input is first *waiting* (not sent, not numbered), then *pending* (numbered, sent, not acked). Both have a bound. When too many
 * wait, a newer one takes the place of the last waiting one of its kind; where there is none, the newest is refused. Every case is counted.
 */

/** @typedef {import('./wire.js').InputKind} InputKind */
/** @typedef {{kind: number, values: number[], seen_tick: number, due_tick: number}} Waiting */
/** @typedef {Waiting & {seq: number, sent_ms: number}} Pending */

/** The server closes above 32; the rest is room for those it has applied but not told yet. */
export const PENDING_MAX = 24
export const WAITING_MAX = 64

/** See the module. */
export class Inputs {
  /** @type {Waiting[]} */ waiting = []
  /** @type {Pending[]} */ pending = []
  /** @type {InputKind[]} */ #kinds = []
  #nextSeq = 1
  /** How many of `pending` this socket has been given. */
  #sent = 0
  coalesced = 0
  refused = 0
  /** Inputs of a session that ended before they were applied. */
  lost = 0

  /** @returns {number} the newest number given out */
  get lastSeq() {
    return this.#nextSeq - 1
  }

  /**
   * @param {string | number} kind name, or index into `Welcome.inputs`
   * @param {readonly number[] | Readonly<Record<string, number>>} values in the declared order, or by field name
   * @param {{seen_tick?: number, due_tick?: number, latest?: boolean}} [options] `latest`: only the newest one that was not sent yet matters
   * @returns {boolean} false where the input was refused because too many wait
   * @throws {RangeError} for an unknown kind or field, a missing value, or one out of bounds
   */
  add(kind, values, { seen_tick = 0, due_tick = 0, latest = false } = {}) {
    const index = typeof kind === 'number' ? kind : this.#kinds.findIndex((k) => k.name === kind)
    const declared = this.#kinds[index]
    if (!declared) throw new RangeError(`no input ${kind}; this title has ${this.#kinds.map((k) => k.name).join(', ')}`)
    /** @type {Waiting} */
    const input = { kind: index, values: checked(declared, values), seen_tick, due_tick }
    const last = this.waiting.findLastIndex((waiting) => waiting.kind === index)
    if (last >= 0 && (latest || this.waiting.length >= WAITING_MAX)) {
      this.waiting[last] = input
      this.coalesced++
      return true
    }
    if (this.waiting.length >= WAITING_MAX) {
      this.refused++
      return false
    }
    this.waiting.push(input)
    return true
  }

  /** The next to send: those a lost socket swallowed first, then a new one. @param {number} now_ms @returns {Pending | null} */
  next(now_ms) {
    if (this.#sent < this.pending.length) return this.pending[this.#sent++]
    if (!this.waiting.length || this.pending.length >= PENDING_MAX) return null
    const input = { ...(/** @type {Waiting} */ (this.waiting.shift())), seq: this.#nextSeq++, sent_ms: now_ms }
    this.pending.push(input)
    this.#sent++
    return input
  }

  /** @returns {boolean} whether `next` has one */
  get ready() {
    return this.#sent < this.pending.length || (this.waiting.length > 0 && this.pending.length < PENDING_MAX)
  }

  /** Everything up to `seq` has been applied. @param {number} seq @returns {Pending[]} what is acked by that for the first time */
  ack(seq) {
    let done = 0
    while (done < this.pending.length && this.pending[done].seq <= seq) done++
    this.#sent = Math.max(0, this.#sent - done)
    return this.pending.splice(0, done)
  }

  /**
   * A socket is playing: goes on with the same session from what the server applied last, or begins a new one.
   *
   * @param {InputKind[]} kinds
   * @param {number} last_seq
   * @param {boolean} sameSession
   * @returns {Pending[]} what turned out to be applied
   */
  begin(kinds, last_seq, sameSession) {
    this.#kinds = kinds
    const applied = sameSession ? this.ack(last_seq) : []
    if (!sameSession) {
      this.lost += this.pending.length
      this.pending = []
    }
    // The server's count rules. It can stand lower than ours only where acked ticks were lost, and may leave no gap.
    this.pending.forEach((input, i) => (input.seq = last_seq + 1 + i))
    this.#nextSeq = last_seq + 1 + this.pending.length
    this.#sent = 0
    return applied
  }

  /** Drops what was made for other kinds of input. */
  forgetWaiting() {
    this.lost += this.waiting.length
    this.waiting = []
  }
}

/** @param {InputKind} kind @param {readonly number[] | Readonly<Record<string, number>>} values */
function checked(kind, values) {
  const byName = /** @type {Readonly<Record<string, number>>} */ (values)
  const list = Array.isArray(values) ? [...values] : kind.fields.map((field) => byName[field.name])
  if (list.length !== kind.fields.length) throw new RangeError(`${kind.name} takes ${kind.fields.length} values, not ${list.length}`)
  if (!Array.isArray(values)) {
    const unknown = Object.keys(values).find((name) => !kind.fields.some((field) => field.name === name))
    if (unknown) throw new RangeError(`${kind.name} has no field ${unknown}`)
  }
  kind.fields.forEach((field, i) => {
    const value = list[i]
    if (!Number.isInteger(value) || value < field.min || value > field.max) {
      throw new RangeError(`${kind.name}.${field.name} is ${value}, not a whole number in ${field.min}..${field.max}`)
    }
  })
  return list
}
