/**
 * The player's hands on a predicted avatar: which tick each input is meant for, and what of the frames concerns it. Pure.
 */

import { moment, PARTS } from './clock.js'
import { Lead, Predictor } from './prediction.js'

/** @typedef {import('./prediction.js').Columns} Columns */
/** @typedef {import('./prediction.js').Prediction} Prediction */
/** @typedef {import('./prediction.js').Unacked} Unacked */
/** @typedef {import('./inputs.js').Waiting} Waiting */

/** See the module. One for each connection whose avatar is predicted. */
export class Steering {
  lead = new Lead()
  /** @type {Predictor} */ predictor
  #session
  #mirror
  #interpolator
  #avatar = 0
  #shard = -1
  #due = 0

  /**
   * @param {Prediction} prediction
   * @param {import('./session.js').Session} session
   * @param {import('./mirror.js').Mirror} mirror
   * @param {import('./interpolate.js').Interpolator} interpolator
   */
  constructor(prediction, session, mirror, interpolator) {
    this.#session = session
    this.#mirror = mirror
    this.#interpolator = interpolator
    this.predictor = new Predictor(prediction, () => [...session.inputs.pending, ...session.inputs.waiting].map((i) => this.#unacked(i)))
  }

  /** A socket was welcomed: times are its own. */
  begin() {
    this.lead.restart()
    this.predictor.restart()
    this.#shard = -1
  }

  /** Call with a frame's acks before the session takes them. @param {readonly {seq: number, shard: number, tick: number}[]} acks */
  acks(acks) {
    for (const { seq, shard, tick } of acks) {
      const applied = this.#session.inputs.pending.filter((input) => input.seq <= seq).map((input) => this.#unacked(input))
      if (!applied.length || shard !== this.#shard) continue
      const late = this.predictor.acknowledged(applied, tick)
      if (late) this.lead.late(late)
    }
  }

  /** After mirror and interpolator took a frame. @param {readonly import('./mirror.js').TickSeen[]} seen @param {number} now_ms */
  frame(seen, now_ms) {
    const id = this.#mirror.own.entity
    const avatar = id && this.#mirror.stands(id) ? this.#mirror.get(id) : null
    const head = avatar && seen.find(({ shard }) => shard === avatar.shard)
    if (!avatar || !head) return
    if (id !== this.#avatar) this.predictor.restart()
    this.#avatar = id
    if (avatar.shard !== this.#shard) this.#cross(avatar.shard, now_ms)
    this.predictor.snap = (this.#mirror.grid?.cell_size ?? Infinity) / 2
    const { id: _, kind: __, cell: ___, shard: ____, ...columns } = avatar
    this.predictor.confirm(head.tick, { .../** @type {Columns} */ (columns), ...this.#mirror.ownValues }, this.tick(now_ms), now_ms)
  }

  /** @param {number} now_ms @returns {number} the tick at which the own avatar lives, with its fraction */
  tick(now_ms) {
    const clock = this.#interpolator.clock(this.#shard)
    if (!clock) return this.predictor.tick
    return clock.tickAt(clock.time(now_ms) + this.lead.advance(this.#session.clock.round_trip_least_ms, clock.jitter_max_ms, now_ms))
  }

  /** @param {number} now_ms @returns {number} the tick an input made now is meant for; 0 where that is not known */
  due(now_ms) {
    // Before the way has been measured every input would be late, and the lead would grow for nothing.
    if (!this.predictor.started || Number.isNaN(this.#session.clock.offset_ms)) return 0
    return (this.#due = Math.max(this.#due, Math.floor(this.tick(now_ms)) + 1))
  }

  /**
   * An input that was made for tick `due` is judged by what was drawn then, so it ends its tick: what hands do afterwards acts from
   * the next one, for it would change the very tick that the shot was drawn in.
   *
   * @param {number} due
   */
  aimed(due) {
    if (due) this.#due = due + 1
  }

  /** @param {number} now_ms @returns {Columns | null} where to draw the avatar, null before it was seen */
  shown(now_ms) {
    return this.predictor.at(this.moment(now_ms) / PARTS, now_ms)
  }

  /** @param {number} now_ms @returns {number} what `shown` shows now: 256ths of a tick of the avatar's shard */
  moment(now_ms) {
    return moment(this.tick(now_ms))
  }

  /** Its ticks are another shard's from here on. @param {number} shard @param {number} now_ms */
  #cross(shard, now_ms) {
    const [old, next] = [this.#interpolator.clock(this.#shard), this.#interpolator.clock(shard)]
    const shift = old && next ? Math.round(next.tickAt(now_ms) - old.tickAt(now_ms)) : 0
    for (const input of [...this.#session.inputs.pending, ...this.#session.inputs.waiting]) if (input.due_tick) input.due_tick += shift
    this.#shard = shard
    this.#due = 0
    this.predictor.restart()
  }

  /** @param {Waiting} input @returns {Unacked} */
  #unacked({ kind, values, due_tick }) {
    const declared = /** @type {import('./wire.js').Welcome} */ (this.#session.welcome).inputs[kind]
    return { kind: declared.name, fields: Object.fromEntries(declared.fields.map(({ name }, i) => [name, values[i]])), due: due_tick }
  }
}
