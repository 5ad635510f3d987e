/**
 * How a ship moves: `overworld.titles.frontier.prediction` in JavaScript, over the same whole numbers. The page plays the own ship's
 * inputs ahead of the server with it.
 */

import { DEAD } from './frontier.js'

const ANGLE_SCALE = 16384
const TURN_STEPS = 5
const THRUST_SHIFT = 4
const BRAKE_SHIFT = 3

/** Columns of a ship that the rule predicts. */
export const PREDICTED = ['x', 'y', 'vx', 'vy', 'heading', 'turn', 'thrust']

export const ANGLES = { heading: 256 }

const quarter = Array.from({ length: 65 }, (_, step) => Math.round(Math.sin((step * Math.PI) / 128) * ANGLE_SCALE))
const half = [...quarter, ...quarter.slice(1, 64).reverse()]
const SINES = [...half, ...half.map((sine) => -sine)]

/** @param {number} angle in 256 steps */
export const sine = (angle) => SINES[angle & 255]
/** @param {number} angle in 256 steps */
export const cosine = (angle) => SINES[(angle + 64) & 255]

/** `width`, `height`: position units. @typedef {{one: number, hz: number, width: number, height: number}} Space */

/**
 * The rule for a world of this size: a ship's columns a tick later, given its player's inputs of that tick.
 *
 * @param {Space} space
 * @returns {import('/js/prediction.js').Rule}
 */
export function flightRule({ one, hz, width, height }) {
  const speed = Math.floor((40 * one) / hz)
  const least = Math.max(1, Math.floor(one / 32))
  return (ship, commands) => {
    const after = { ...ship }
    for (const { kind, fields } of commands) {
      if (kind !== 'Steer') continue
      after.turn = fields.turn
      after.thrust = fields.thrust
    }
    const alive = !(after.flags & DEAD)
    if (alive) after.heading = (after.heading + after.turn * TURN_STEPS) & 255
    if (alive && after.thrust) {
      const ahead = after.thrust > 0
      const full = ahead ? speed : 0
      const shift = ahead ? THRUST_SHIFT : BRAKE_SHIFT
      after.vx = ease(after.vx, Math.floor((full * cosine(after.heading)) / ANGLE_SCALE), shift, least)
      after.vy = ease(after.vy, Math.floor((full * sine(after.heading)) / ANGLE_SCALE), shift, least)
    }
    ;[after.x, after.vx] = reflect(after.x + after.vx, after.vx, width)
    ;[after.y, after.vy] = reflect(after.y + after.vy, after.vy, height)
    return after
  }
}

/** @param {number} value @param {number} wanted @param {number} shift @param {number} least */
function ease(value, wanted, shift, least) {
  const missing = wanted - value
  const part = Math.min(Math.max(Math.abs(missing) >> shift, least), Math.abs(missing))
  return missing < 0 ? value - part : value + part
}

/** @param {number} position @param {number} velocity @param {number} high @returns {[number, number]} */
function reflect(position, velocity, high) {
  if (position >= 0 && position < high) return [position, velocity]
  const inside = position < 0 ? -position : 2 * (high - 1) - position
  return [Math.min(Math.max(inside, 0), high - 1), position < 0 ? Math.abs(velocity) : -Math.abs(velocity)]
}
