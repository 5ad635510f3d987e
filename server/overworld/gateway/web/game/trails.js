/** The light that ships leave behind them: a ribbon along the way they came, bright where the engine burned. */

import { hsl, OWN_HUE } from './art.js'
import { SHIP, SHIP_RADIUS, THRUSTING } from './frontier.js'

const POINTS = 26
const EVERY_MS = 28
/** Ships with a ribbon, at most, so that a crowd stays cheap. */
const SHIPS_MAX = 60

/** @typedef {{x: Float32Array, y: Float32Array, burn: Float32Array, head: number, count: number}} Ribbon */

/** See the module. */
export class Trails {
  /** @type {Map<number, Ribbon>} */ #ribbons = new Map()
  #added_ms = 0

  /**
   * Notes where ships are now.
   *
   * @param {import('./things.js').Things} things
   * @param {boolean} ownThrusts as the player commands it
   * @param {number} now_ms
   */
  follow(things, ownThrusts, now_ms) {
    const fresh = now_ms - this.#added_ms >= EVERY_MS
    if (fresh) this.#added_ms = now_ms
    for (const [id, ribbon] of this.#ribbons) {
      const thing = things.all.get(id)
      if (!thing?.shown || !thing.alive) this.#ribbons.delete(id)
      else this.#put(ribbon, thing, thing === things.own ? ownThrusts : (thing.flags & THRUSTING) !== 0, fresh)
    }
    for (const thing of things.all.values()) {
      if (thing.kind !== SHIP || !thing.shown || !thing.alive || this.#ribbons.has(thing.id)) continue
      if (this.#ribbons.size >= SHIPS_MAX && thing !== things.own) continue
      const arrays = { x: new Float32Array(POINTS), y: new Float32Array(POINTS), burn: new Float32Array(POINTS) }
      this.#ribbons.set(thing.id, { ...arrays, head: 0, count: 0 })
    }
  }

  /** Its newest point moves with the ship until the next one is due. @param {Ribbon} ribbon @param {import('./things.js').Thing} thing @param {boolean} burns @param {boolean} fresh */
  #put(ribbon, thing, burns, fresh) {
    if (fresh || !ribbon.count) {
      ribbon.head = (ribbon.head + 1) % POINTS
      ribbon.count = Math.min(POINTS, ribbon.count + 1)
    }
    const { head } = ribbon
    ribbon.x[head] = thing.x - Math.cos(thing.angle) * SHIP_RADIUS * 0.55
    ribbon.y[head] = thing.y - Math.sin(thing.angle) * SHIP_RADIUS * 0.55
    const before = ribbon.burn[(head - 1 + POINTS) % POINTS]
    ribbon.burn[head] = burns ? 1 : ribbon.count > 1 ? before * 0.55 : 0
  }

  /** @param {CanvasRenderingContext2D} context @param {import('./camera.js').Camera} camera @param {import('./things.js').Things} things @param {boolean} calm */
  draw(context, camera, things, calm) {
    if (calm) return
    const { left, top, right, bottom } = camera.bounds()
    context.globalCompositeOperation = 'lighter'
    context.lineCap = 'butt'
    for (const [id, ribbon] of this.#ribbons) {
      const thing = things.all.get(id)
      if (!thing || thing.x < left - 30 || thing.x > right + 30 || thing.y < top - 30 || thing.y > bottom + 30) continue
      const hue = thing === things.own ? OWN_HUE : thing.hue
      this.#drawRibbon(context, camera, ribbon, hue)
    }
    context.globalAlpha = 1
    context.globalCompositeOperation = 'source-over'
  }

  /** @param {CanvasRenderingContext2D} context @param {import('./camera.js').Camera} camera @param {Ribbon} ribbon @param {number} hue */
  #drawRibbon(context, camera, { x, y, burn, head, count }, hue) {
    for (const [width, lightness, light] of [[1.15, 52, 0.2], [0.42, 74, 0.5]]) { // prettier-ignore
      context.strokeStyle = hsl(hue, lightness)
      for (let back = 0; back < count - 1; back++) {
        const [a, b] = [(head - back + POINTS) % POINTS, (head - back - 1 + POINTS) % POINTS]
        const age = 1 - back / POINTS
        const alpha = light * age * age * Math.min(burn[a], burn[b])
        // A ship that leapt leaves no line across the world.
        if (alpha < 0.01 || Math.abs(x[a] - x[b]) + Math.abs(y[a] - y[b]) > 8) continue
        context.globalAlpha = alpha
        context.lineWidth = camera.scale * width * (0.35 + 0.65 * age)
        context.beginPath()
        context.moveTo(camera.x(x[a]), camera.y(y[a]))
        context.lineTo(camera.x(x[b]), camera.y(y[b]))
        context.stroke()
      }
    }
  }
}
