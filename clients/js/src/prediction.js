/**
 * The own avatar, ahead of the server: inputs act at once, and every state the server sends is the new beginning from which the
 * inputs it does not hold yet are played again. Pure: calls are given the local time in milliseconds.
 *
 * The title says how its avatar moves: a rule over whole numbers, the same as the server's, that takes the avatar's columns (near and
 * owner's, by name) and the inputs of one tick, and gives the columns after it. Inputs name the tick they are meant for, so
 * prediction and server agree to the bit unless something else acts on the avatar.
 */

import { shortWay } from './interpolate.js'

/** @typedef {Record<string, number>} Columns */
/** @typedef {{kind: string, fields: Record<string, number>}} Command */
/** The columns one tick later. Must not change its arguments. @typedef {(columns: Columns, commands: readonly Command[]) => Columns} Rule */
/** `due`: the tick an input is meant for. @typedef {Command & {due: number}} Unacked */
/** `angles`: the columns of those predicted that wrap, with their modulo. @typedef {{rule: Rule, columns: readonly string[], angles?: Record<string, number>}} Prediction */

/** Further than this beyond the newest state nothing is predicted: the avatar stands. */
const AHEAD_TICKS_MAX = 40
/** After this time 1/e of a correction is left to be seen. */
const MELT_MS = 80
const CORRECTIONS_KEPT = 256
const INPUTS_PER_TICK_MAX = 4

/** See the module. */
export class Predictor {
  /** States of the server that were compared with what had been predicted for their tick. */
  confirmed = 0
  mispredicted = 0
  /** Inputs that the server applied after their tick. */
  late = 0
  /** How far off the newest mispredictions were, position units. @type {number[]} */ corrections = []
  /** Corrections further than this are shown at once. */
  snap = Infinity
  /** Tick of the newest state of the server. */
  tick = 0

  #rule
  #names
  #angles
  #unacked
  /** The server's state at `tick`, then predictions, a tick each. @type {Columns[]} */ #states = []
  /** Acked inputs whose state has not come yet. @type {Unacked[]} */ #applied = []
  /** @type {Columns} */ #error = {}
  #error_ms = 0

  /**
   * @param {Prediction} prediction
   * @param {() => readonly Unacked[]} unacked the player's inputs that are not acked, in order
   */
  constructor({ rule, columns, angles = {} }, unacked) {
    this.#rule = rule
    this.#names = columns
    this.#angles = angles
    this.#unacked = unacked
  }

  /** @returns {boolean} whether there is a state to go on from */
  get started() {
    return this.#states.length > 0
  }

  /** The player's inputs changed. */
  changed() {
    this.#states.length = Math.min(this.#states.length, 1)
  }

  /**
   * The server has applied these inputs, the last of them at `tick`. Call before `confirm` for the frame that says so.
   *
   * @param {readonly Unacked[]} inputs
   * @param {number} tick
   * @returns {number} by how many ticks the last one was late
   */
  acknowledged(inputs, tick) {
    inputs.forEach((input, i) => {
      const due = i === inputs.length - 1 ? tick : Math.min(tick, Math.max(input.due, this.tick + 1))
      this.#applied.push({ ...input, due })
    })
    const due = inputs.at(-1)?.due ?? 0
    if (!due || tick <= due) return 0
    this.late++
    return tick - due
  }

  /**
   * The server's state at a tick.
   *
   * @param {number} tick
   * @param {Columns} state
   * @param {number} shown what `at` is asked for now: what is seen there must not jump
   * @param {number} now_ms
   */
  confirm(tick, state, shown, now_ms) {
    if (this.#states.length && tick < this.tick) this.restart()
    const before = this.at(shown, now_ms)
    const expected = this.#states[tick - this.tick]
    this.#applied = this.#applied.filter((input) => input.due > tick)
    const right = expected && this.#names.every((name) => expected[name] === state[name])
    this.tick = tick
    this.#states = [state]
    if (expected) this.confirmed++
    if (right) return
    if (expected) {
      this.mispredicted++
      this.corrections.push(Math.hypot(expected.x - state.x, expected.y - state.y))
      if (this.corrections.length > CORRECTIONS_KEPT) this.corrections.shift()
    }
    if (before) this.#smooth(before, shown, now_ms)
  }

  /** Predictions are void: another socket, another shard. */
  restart() {
    this.#states = []
    this.#applied = []
  }

  /**
   * Where to draw the avatar: what the rule predicts, between two ticks, and what is left of the last correction.
   *
   * @param {number} tick with its fraction
   * @param {number} now_ms
   * @returns {Columns | null} null before the first state
   */
  at(tick, now_ms) {
    if (!this.#states.length) return null
    const first = Math.max(Math.floor(tick), this.tick)
    const part = Math.min(1, Math.max(0, tick - first))
    const [a, b] = [this.#state(first), this.#state(first + 1)]
    const left = Math.exp(-Math.max(0, now_ms - this.#error_ms) / MELT_MS)
    /** @type {Columns} */
    const shown = {}
    for (const name of this.#names) {
      const modulo = this.#angles[name]
      const step = b[name] - a[name]
      const value = a[name] + part * (modulo ? shortWay(step, modulo) : step) + (this.#error[name] ?? 0) * left
      shown[name] = modulo ? ((value % modulo) + modulo) % modulo : value
    }
    return shown
  }

  /** @param {number} tick @returns {Columns} */
  #state(tick) {
    const ahead = Math.min(tick - this.tick, AHEAD_TICKS_MAX)
    if (this.#states.length <= ahead) {
      const byTick = this.#schedule()
      while (this.#states.length <= ahead) {
        const commands = byTick.get(this.tick + this.#states.length) ?? []
        this.#states.push(this.#rule(this.#states[this.#states.length - 1], commands))
      }
    }
    return this.#states[ahead]
  }

  /** Which tick applies which inputs, as the server will: in order, none before it is due, not too many. @returns {Map<number, Command[]>} */
  #schedule() {
    /** @type {Map<number, Command[]>} */
    const byTick = new Map()
    let at = this.tick + 1
    for (const input of [...this.#applied, ...this.#unacked()]) {
      at = Math.max(at, input.due)
      if ((byTick.get(at)?.length ?? 0) >= INPUTS_PER_TICK_MAX) at++
      const commands = byTick.get(at)
      if (commands) commands.push(input)
      else byTick.set(at, [input])
    }
    return byTick
  }

  /** What was drawn minus what is right now melts away. @param {Columns} before @param {number} tick @param {number} now_ms */
  #smooth(before, tick, now_ms) {
    this.#error = {}
    this.#error_ms = now_ms
    const after = /** @type {Columns} */ (this.at(tick, now_ms))
    if (Math.hypot(before.x - after.x, before.y - after.y) > this.snap) return
    for (const name of this.#names) {
      const modulo = this.#angles[name]
      const error = before[name] - after[name]
      this.#error[name] = modulo ? shortWay(error, modulo) : error
    }
  }
}

/** Gateway, step and journal, where they are quick. */
const SERVER_MS = 12
/** What one late input adds, and one more for each tick it was late. */
const LATE_MS = 10
const SURPLUS_MS_MAX = 250
/** How much of a surplus melts away in a second, ms. */
const SURPLUS_MELTS = 5
/** How much faster or slower the avatar's time may run while the lead grows or shrinks. */
const SLEW_UP = 0.1
const SLEW_DOWN = 0.05
const LEAD_MS_MAX = 600

/**
 * How far ahead of the ticks that arrive the player lives, so that inputs are there in time: a round trip, what jitter adds to it, what
 * server processes take. Inputs that came late all the same lengthen it; the surplus melts away again. It changes slowly.
 */
export class Lead {
  ms = 0
  #surplus_ms = 0
  #at_ms = NaN

  /** @param {number} round_trip_ms the least of late @param {number} jitter_ms the greatest of late @param {number} now_ms @returns {number} */
  advance(round_trip_ms, jitter_ms, now_ms) {
    const passed_ms = Math.max(0, now_ms - this.#at_ms)
    const wanted = Math.min(round_trip_ms + jitter_ms + SERVER_MS + this.#surplus_ms, LEAD_MS_MAX)
    if (Number.isNaN(passed_ms)) this.ms = wanted
    else {
      this.#surplus_ms = Math.max(0, this.#surplus_ms - (SURPLUS_MELTS * passed_ms) / 1000)
      this.ms = Math.min(Math.max(wanted, this.ms - SLEW_DOWN * passed_ms), this.ms + SLEW_UP * passed_ms)
    }
    this.#at_ms = now_ms
    return this.ms
  }

  /** An input was applied so many ticks after the one it was meant for. @param {number} ticks */
  late(ticks) {
    this.#surplus_ms = Math.min(SURPLUS_MS_MAX, this.#surplus_ms + LATE_MS * (1 + ticks))
  }

  /** Another socket: the way is measured anew. */
  restart() {
    this.#at_ms = NaN
    this.#surplus_ms = 0
  }
}
