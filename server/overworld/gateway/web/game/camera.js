/** Where the page looks: centred a little ahead of the own ship, at a scale at which all that the server shows fits. */

/** How far ahead of the ship the camera looks, seconds of its flight. */
const LOOK_AHEAD_S = 0.16
const SHAKE_MS = 220

/** See the module. World lengths are in the title's own measure, page lengths in its pixels. */
export class Camera {
  width = 1
  height = 1
  density = 1
  scale = 10
  centre = { x: 0, y: 0 }
  #ahead = { x: 0, y: 0 }
  #shake = 0
  #offset = { x: 0, y: 0 }

  /** @param {number} width @param {number} height @param {number} density @param {number} view how far the server shows */
  resize(width, height, density, view) {
    this.width = width
    this.height = height
    this.density = density
    this.scale = Math.hypot(width, height) / 2 / view
  }

  /**
   * @param {{x: number, y: number, vx: number, vy: number}} ship velocities a second
   * @param {number} elapsed_ms
   * @param {boolean} calm no look-ahead, no shaking
   */
  follow(ship, elapsed_ms, calm) {
    const ease = 1 - Math.exp(-elapsed_ms / 420)
    const wanted = calm ? 0 : LOOK_AHEAD_S
    this.#ahead.x += (ship.vx * wanted - this.#ahead.x) * ease
    this.#ahead.y += (ship.vy * wanted - this.#ahead.y) * ease
    this.#shake = Math.max(0, this.#shake - elapsed_ms / SHAKE_MS)
    const strength = calm ? 0 : this.#shake * this.#shake
    this.#offset.x = (Math.random() - 0.5) * strength
    this.#offset.y = (Math.random() - 0.5) * strength
    this.centre.x = ship.x + this.#ahead.x + this.#offset.x
    this.centre.y = ship.y + this.#ahead.y + this.#offset.y
  }

  /** @param {number} strength 0..1 */
  shake(strength) {
    this.#shake = Math.min(1, Math.max(this.#shake, strength))
  }

  /** @param {number} x @returns {number} */
  x(x) {
    return (x - this.centre.x) * this.scale + this.width / 2
  }

  /** @param {number} y @returns {number} */
  y(y) {
    return (y - this.centre.y) * this.scale + this.height / 2
  }

  /** The part of the world on the page. */
  bounds() {
    const [w, h] = [this.width / 2 / this.scale, this.height / 2 / this.scale]
    const { x, y } = this.centre
    return { left: x - w, top: y - h, right: x + w, bottom: y + h }
  }
}
