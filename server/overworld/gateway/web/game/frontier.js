/** What this page knows of the title: the names and numbers of `overworld.titles.frontier`. */

export const SHIP = 'Ship'
export const BOLT = 'Bolt'
export const DRONE = 'Drone'
export const CRYSTAL = 'Crystal'
export const STEER = 'Steer'
export const LANCE = 'Lance'

/** Bits of `Ship.flags`. */
export const PROTECTED = 1
export const THRUSTING = 2
export const DEAD = 4

export const HULL_MAX = 100
export const ENERGY_MAX = 12
export const LANCE_ENERGY = 4
export const LANCE_MS = 900
export const LANCE_REACH = 48
export const DRONE_HULL_MAX = 40

/** Lengths in the title's own measure. */
export const SHIP_RADIUS = 2
export const NOSE = 2

/** Angles have so many steps a turn, clockwise on a screen whose y points down. */
export const ANGLE_STEPS = 256
export const RADIANS = (2 * Math.PI) / ANGLE_STEPS

/**
 * What the player's hands do.
 * @typedef {{turn: -1 | 0 | 1, thrust: -1 | 0 | 1, fire: 0 | 1}} Command
 */

/** @type {Readonly<Command>} */
export const NOTHING = Object.freeze({ turn: 0, thrust: 0, fire: 0 })

/** @param {Readonly<Command>} a @param {Readonly<Command>} b */
export function sameCommand(a, b) {
  return a.turn === b.turn && a.thrust === b.thrust && a.fire === b.fire
}
