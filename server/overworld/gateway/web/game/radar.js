/** The small map: what is around beyond the page's edge, and where in the world that is. */

import { DRONE_HUE, hsl, OWN_HUE } from './art.js'
import { CRYSTAL, DRONE, SHIP } from './frontier.js'

const REFRESH_MS = 66
/** How far the radar reaches, in the title's measure: a little more than the server shows. */
const REACH = 104

/** See the module. */
export class Radar {
  #canvas
  #context
  #refreshed_ms = 0

  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'))
  }

  /**
   * @param {import('./things.js').Things} things
   * @param {import('./camera.js').Camera} camera
   * @param {import('./game.js').World} world
   * @param {number} now_ms
   */
  draw(things, camera, world, now_ms) {
    const own = things.own
    if (!own || now_ms - this.#refreshed_ms < REFRESH_MS) return
    this.#refreshed_ms = now_ms
    const side = this.#canvas.clientWidth
    if (!side) return
    const pixels = Math.round(side * camera.density)
    if (this.#canvas.width !== pixels) this.#canvas.width = this.#canvas.height = pixels
    const c = this.#context
    const [r, scale] = [side / 2, side / 2 / REACH]
    c.setTransform(camera.density, 0, 0, camera.density, 0, 0)
    c.clearRect(0, 0, side, side)
    c.save()
    c.beginPath()
    c.arc(r, r, r - 1, 0, 2 * Math.PI)
    c.fillStyle = 'hsl(205 60% 8% / 0.55)'
    c.fill()
    c.clip()
    const x = (/** @type {number} */ v) => r + (v - own.x) * scale
    const y = (/** @type {number} */ v) => r + (v - own.y) * scale
    this.#ground(c, x, y, r, camera, world)
    for (const thing of things.all.values()) if (thing.shown && thing !== own) this.#dot(c, x(thing.x), y(thing.y), thing)
    this.#arrow(c, r, own.angle, own.alive)
    c.restore()
    c.beginPath()
    c.arc(r, r, r - 1, 0, 2 * Math.PI)
    c.lineWidth = 1
    c.strokeStyle = 'hsl(195 60% 70% / 0.28)'
    c.stroke()
    this.#locator(c, side, own, world)
  }

  /** @param {CanvasRenderingContext2D} c @param {(v: number) => number} x @param {(v: number) => number} y @param {number} r @param {import('./camera.js').Camera} camera @param {import('./game.js').World} world */
  #ground(c, x, y, r, camera, world) {
    c.lineWidth = 1
    c.strokeStyle = 'hsl(195 60% 70% / 0.1)'
    for (const part of [1 / 3, 2 / 3]) {
      c.beginPath()
      c.arc(r, r, r * part, 0, 2 * Math.PI)
      c.stroke()
    }
    const { left, top, right, bottom } = camera.bounds()
    c.strokeStyle = 'hsl(195 60% 75% / 0.16)'
    c.strokeRect(x(left), y(top), x(right) - x(left), y(bottom) - y(top))
    c.strokeStyle = 'hsl(350 90% 66% / 0.7)'
    c.strokeRect(x(0), y(0), x(world.width) - x(0), y(world.height) - y(0))
  }

  /** @param {CanvasRenderingContext2D} c @param {number} x @param {number} y @param {import('./things.js').Thing} thing */
  #dot(c, x, y, thing) {
    if (thing.kind === CRYSTAL) {
      c.fillStyle = hsl(thing.hue, 70, 0.55)
      c.fillRect(x - 0.8, y - 0.8, 1.6, 1.6)
      return
    }
    if ((thing.kind !== SHIP && thing.kind !== DRONE) || !thing.alive) return
    c.fillStyle = thing.kind === DRONE ? hsl(DRONE_HUE, 62) : hsl(thing.hue, 74)
    c.beginPath()
    c.arc(x, y, thing.kind === DRONE ? 1.6 : 2.2, 0, 2 * Math.PI)
    c.fill()
  }

  /** @param {CanvasRenderingContext2D} c @param {number} r @param {number} angle @param {boolean} alive */
  #arrow(c, r, angle, alive) {
    c.save()
    c.translate(r, r)
    c.rotate(angle)
    c.fillStyle = alive ? hsl(OWN_HUE, 85) : 'rgb(255 255 255 / 0.35)'
    c.beginPath()
    c.moveTo(5.5, 0)
    c.lineTo(-3.5, 3.6)
    c.lineTo(-1.6, 0)
    c.lineTo(-3.5, -3.6)
    c.fill()
    c.restore()
  }

  /** The whole world, very small, and where we are in it. @param {CanvasRenderingContext2D} c @param {number} side @param {{x: number, y: number}} own @param {import('./game.js').World} world */
  #locator(c, side, own, world) {
    const w = side * 0.2
    const h = (w * world.height) / world.width
    const [x, y] = [side - w - 0.5, side - h - 0.5]
    c.fillStyle = 'hsl(215 60% 6% / 0.9)'
    c.fillRect(x, y, w, h)
    c.strokeStyle = 'hsl(195 60% 70% / 0.35)'
    c.strokeRect(x, y, w, h)
    c.fillStyle = hsl(OWN_HUE, 80)
    c.fillRect(x + (own.x / world.width) * w - 1.5, y + (own.y / world.height) * h - 1.5, 3, 3)
  }
}
