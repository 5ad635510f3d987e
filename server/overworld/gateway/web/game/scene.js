/** Draws one frame of the page: space, things, effects, and what points to things beyond the page's edge. */

import { DRONE_HUE, hsl, OWN_HUE } from './art.js'
import { drawWorldLines } from './backdrop.js'
import { BOLT, CRYSTAL, DRONE, DRONE_HULL_MAX, HULL_MAX, PROTECTED, SHIP, SHIP_RADIUS, THRUSTING } from './frontier.js'
import { Trails } from './trails.js'

/** @typedef {import('./things.js').Thing} Thing */
/** @typedef {import('./things.js').Things} Things */
/** @typedef {import('./art.js').Sprite} Sprite */

const FLASH_MS = 160
const POINTERS_MAX = 8
const LABELS_MAX = 400

/**
 * @typedef {{
 *   context: CanvasRenderingContext2D, camera: import('./camera.js').Camera, art: import('./art.js').Art,
 *   effects: import('./effects.js').Effects, backdrop: import('./backdrop.js').Backdrop
 * }} Stage
 */

/** See the module. */
export class Scene {
  /** @type {Map<string, HTMLCanvasElement>} */ #labels = new Map()
  #trails = new Trails()

  /**
   * @param {Stage} stage
   * @param {Things} things
   * @param {import('./game.js').World | null} world
   * @param {{now_ms: number, thrusting: boolean, calm: boolean, labels: boolean, borders: boolean}} how `thrusting`: the own ship, as its player commands it now
   */
  draw(stage, things, world, how) {
    const { context, camera, backdrop, effects, art } = stage
    const { centre, scale } = camera
    context.setTransform(camera.density, 0, 0, camera.density, 0, 0)
    backdrop.draw(context, camera.width, camera.height, centre.x * scale, centre.y * scale)
    if (world) drawWorldLines(context, camera, world, how.borders)
    const visible = this.#visible(things, camera)
    this.#trails.follow(things, how.thrusting, how.now_ms)
    for (const thing of visible) if (thing.kind === CRYSTAL) this.#crystal(stage, thing, things.opacity(thing, how.now_ms), how)
    this.#trails.draw(context, camera, things, how.calm)
    context.globalCompositeOperation = 'lighter'
    for (const thing of visible) if (thing.kind === BOLT) this.#stamp(stage, art.bolt(thing.hue), thing.x, thing.y, thing.angle, 1)
    context.globalCompositeOperation = 'source-over'
    for (const thing of visible) if (thing.kind === DRONE) this.#drone(stage, thing, things.opacity(thing, how.now_ms), how)
    for (const thing of visible) if (thing.kind === SHIP && thing !== things.own) this.#ship(stage, thing, false, things.opacity(thing, how.now_ms), how)
    if (things.own?.shown) this.#ship(stage, things.own, true, things.opacity(things.own, how.now_ms), how)
    context.globalAlpha = 1
    effects.draw(context, camera, art, how.now_ms)
    this.#pointers(stage, things)
  }

  /** @param {Things} things @param {import('./camera.js').Camera} camera */
  #visible(things, camera) {
    const { left, top, right, bottom } = camera.bounds()
    const rim = 8
    const visible = []
    for (const thing of things.all.values()) {
      if (thing.shown && thing.x > left - rim && thing.x < right + rim && thing.y > top - rim && thing.y < bottom + rim) visible.push(thing)
    }
    return visible
  }

  /** Copies a sprite. @param {Stage} stage @param {Sprite} sprite @param {number} x @param {number} y @param {number} angle @param {number} size */
  #stamp({ context, camera }, sprite, x, y, angle, size) {
    const d = camera.density
    const [cos, sin] = [Math.cos(angle) * d * size, Math.sin(angle) * d * size]
    context.setTransform(cos, sin, -sin, cos, camera.x(x) * d, camera.y(y) * d)
    context.drawImage(sprite.image, -sprite.x, -sprite.y, sprite.width, sprite.height)
    context.setTransform(d, 0, 0, d, 0, 0)
  }

  /** @param {Stage} stage @param {Thing} thing @param {number} opacity @param {{now_ms: number, calm: boolean}} how */
  #crystal(stage, thing, opacity, { now_ms, calm }) {
    const { context, art } = stage
    const phase = (thing.id * 0.618) % 1
    const t = now_ms / 1000 + phase * 20
    const sway = calm ? 0 : Math.sin(t * 1.1) * 0.22
    const size = calm ? 1 : 1 + 0.05 * Math.sin(t * 2.3)
    context.globalAlpha = opacity
    this.#stamp(stage, art.crystal(thing.value), thing.x, thing.y, sway, size)
    const glint = calm ? 0 : Math.max(0, Math.sin(t * 1.7) - 0.86) / 0.14
    if (glint > 0) {
      context.globalCompositeOperation = 'lighter'
      context.globalAlpha = opacity * glint
      this.#stamp(stage, art.glint(), thing.x - 0.25, thing.y - 0.4, t * 0.6, 0.5 + 0.5 * glint)
      context.globalCompositeOperation = 'source-over'
    }
  }

  /** @param {Stage} stage @param {Thing} thing @param {number} opacity @param {{now_ms: number}} how */
  #drone(stage, thing, opacity, { now_ms }) {
    const { context, art } = stage
    context.globalAlpha = opacity
    this.#stamp(stage, art.drone(), thing.x, thing.y, thing.angle, 1)
    this.#flash(stage, art.drone(), thing, now_ms)
    this.#bar(stage, thing, thing.hp / DRONE_HULL_MAX, DRONE_HUE, opacity)
  }

  /** @param {Stage} stage @param {Thing} thing @param {boolean} own @param {number} opacity @param {{now_ms: number, thrusting: boolean, calm: boolean, labels: boolean}} how */
  #ship(stage, thing, own, opacity, how) {
    if (!thing.alive) return
    const { context, art, camera } = stage
    const hue = own ? OWN_HUE : thing.hue
    const sprite = art.ship(hue, own)
    if (own ? how.thrusting : thing.flags & THRUSTING) this.#engine(stage, thing, hue, opacity, how)
    context.globalAlpha = opacity
    this.#stamp(stage, sprite, thing.x, thing.y, thing.angle, 1)
    this.#flash(stage, sprite, thing, how.now_ms)
    if (thing.flags & PROTECTED) this.#shield(stage, thing, hue, how)
    if (own) return
    this.#bar(stage, thing, thing.hp / HULL_MAX, thing.hue, opacity)
    if (!how.labels) return
    const label = this.#label(thing.name, thing.hue, camera.density)
    const [w, h] = [label.width / camera.density, label.height / camera.density]
    context.globalAlpha = 0.75 * opacity
    context.drawImage(label, Math.round(camera.x(thing.x) - w / 2), Math.round(camera.y(thing.y) + camera.scale * 2.9), w, h)
  }

  /** @param {Stage} stage @param {Thing} thing @param {number} hue @param {number} opacity @param {{now_ms: number, calm: boolean}} how */
  #engine(stage, thing, hue, opacity, { now_ms, calm }) {
    const { context, art } = stage
    const [cos, sin] = [Math.cos(thing.angle), Math.sin(thing.angle)]
    const [x, y] = [thing.x - cos * SHIP_RADIUS * 0.5, thing.y - sin * SHIP_RADIUS * 0.5]
    const flicker = calm ? 1 : 0.86 + 0.1 * Math.sin(now_ms / 23 + thing.id) + 0.08 * Math.random()
    context.globalCompositeOperation = 'lighter'
    context.globalAlpha = opacity
    this.#stamp(stage, art.flame(hue), x, y, thing.angle, flicker)
    context.globalCompositeOperation = 'source-over'
  }

  /** @param {Stage} stage @param {Sprite} sprite @param {Thing} thing @param {number} now_ms */
  #flash(stage, sprite, thing, now_ms) {
    const age = now_ms - thing.flash_ms
    if (age < 0 || age > FLASH_MS) return
    const { context, art } = stage
    context.globalCompositeOperation = 'lighter'
    context.globalAlpha = 1 - age / FLASH_MS
    this.#stamp(stage, sprite, thing.x, thing.y, thing.angle, 1.04)
    this.#stamp(stage, art.spark(44), thing.x, thing.y, 0, 4.5)
    context.globalCompositeOperation = 'source-over'
  }

  /** @param {Stage} stage @param {Thing} thing @param {number} hue @param {{now_ms: number, calm: boolean}} how */
  #shield({ context, camera }, thing, hue, { now_ms, calm }) {
    const pulse = calm ? 0.5 : 0.5 + 0.5 * Math.sin(now_ms / 140)
    const [x, y, r] = [camera.x(thing.x), camera.y(thing.y), camera.scale * SHIP_RADIUS * 1.75]
    context.globalAlpha = 1
    context.beginPath()
    context.arc(x, y, r, 0, 2 * Math.PI)
    context.fillStyle = hsl(hue, 70, 0.05 + 0.04 * pulse)
    context.fill()
    context.lineWidth = 1.4
    context.strokeStyle = hsl(hue, 80, 0.35 + 0.3 * pulse)
    context.stroke()
  }

  /** What is left of a damaged hull. @param {Stage} stage @param {Thing} thing @param {number} left @param {number} hue @param {number} opacity */
  #bar({ context, camera }, thing, left, hue, opacity) {
    if (left >= 1 || left <= 0) return
    const w = camera.scale * 3.4
    const [x, y] = [camera.x(thing.x) - w / 2, camera.y(thing.y) + camera.scale * 2.45]
    context.globalAlpha = 0.9 * opacity
    context.fillStyle = 'rgb(255 255 255 / 0.14)'
    context.fillRect(x, y, w, 2.5)
    context.fillStyle = hsl(hue, 68)
    context.fillRect(x, y, w * left, 2.5)
  }

  /** @param {string} name @param {number} hue @param {number} density */
  #label(name, hue, density) {
    const key = `${name} ${hue} ${density}`
    let label = this.#labels.get(key)
    if (label) return label
    if (this.#labels.size >= LABELS_MAX) this.#labels.clear()
    label = document.createElement('canvas')
    const context = /** @type {CanvasRenderingContext2D} */ (label.getContext('2d'))
    const font = '500 11px system-ui, sans-serif'
    context.font = font
    const width = Math.ceil(context.measureText(name).width) + 4
    label.width = Math.ceil(width * density)
    label.height = Math.ceil(15 * density)
    context.scale(density, density)
    context.font = font
    context.fillStyle = hsl(hue, 84, 1, 60)
    context.textAlign = 'center'
    context.textBaseline = 'middle'
    context.fillText(name, width / 2, 8)
    this.#labels.set(key, label)
    return label
  }

  /** Marks at the page's edge towards ships and drones beyond it. @param {Stage} stage @param {Things} things */
  #pointers({ context, camera }, things) {
    const own = things.own
    if (!own) return
    const { left, top, right, bottom } = camera.bounds()
    const beyond = []
    for (const thing of things.all.values()) {
      if ((thing.kind !== SHIP && thing.kind !== DRONE) || !thing.shown || !thing.alive || thing === own || thing.leaves_ms !== Infinity) continue
      if (thing.x > left - 1 && thing.x < right + 1 && thing.y > top - 1 && thing.y < bottom + 1) continue
      beyond.push({ thing, distance: Math.hypot(thing.x - own.x, thing.y - own.y) })
    }
    beyond.sort((a, b) => a.distance - b.distance)
    const [cx, cy] = [camera.width / 2, camera.height / 2]
    for (const { thing, distance } of beyond.slice(0, POINTERS_MAX)) {
      const [dx, dy] = [camera.x(thing.x) - cx, camera.y(thing.y) - cy]
      const reach = Math.min((cx - 14) / Math.abs(dx || 1), (cy - 14) / Math.abs(dy || 1))
      context.save()
      context.translate(cx + dx * reach, cy + dy * reach)
      context.rotate(Math.atan2(dy, dx))
      context.globalAlpha = Math.max(0.2, 0.85 - distance / 130)
      context.fillStyle = hsl(thing.kind === DRONE ? DRONE_HUE : thing.hue, 66)
      context.beginPath()
      context.moveTo(7, 0)
      context.lineTo(-4, 5)
      context.lineTo(-1.5, 0)
      context.lineTo(-4, -5)
      context.fill()
      context.restore()
    }
    context.globalAlpha = 1
  }
}
