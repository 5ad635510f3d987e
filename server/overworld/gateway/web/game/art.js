/**
 * What things look like, drawn once for each size and colour and then only copied: a glow costs nothing that way. All shapes
 * point along +x; lengths are in pixels of the page.
 */

/** @typedef {{image: HTMLCanvasElement, width: number, height: number, x: number, y: number}} Sprite `x`, `y`: where its centre is */

export const OWN_HUE = 188
export const DRONE_HUE = 4

/** @param {number} hue @param {number} lightness percent @param {number} alpha @param {number} [saturation] percent */
export function hsl(hue, lightness, alpha = 1, saturation = 90) {
  return `hsl(${hue} ${saturation}% ${lightness}% / ${alpha})`
}

/**
 * @param {number} width
 * @param {number} height
 * @param {number} density device pixels a pixel of the page
 * @param {(context: CanvasRenderingContext2D) => void} draw around (0, 0) in the middle
 * @returns {Sprite}
 */
function sprite(width, height, density, draw) {
  const image = document.createElement('canvas')
  image.width = Math.max(1, Math.ceil(width * density))
  image.height = Math.max(1, Math.ceil(height * density))
  const context = /** @type {CanvasRenderingContext2D} */ (image.getContext('2d'))
  context.scale(image.width / width, image.height / height)
  context.translate(width / 2, height / 2)
  draw(context)
  return { image, width, height, x: width / 2, y: height / 2 }
}

/** @param {CanvasRenderingContext2D} context @param {readonly (readonly [number, number])[]} points @param {number} r */
function outline(context, points, r) {
  context.beginPath()
  points.forEach(([x, y], i) => (i ? context.lineTo(x * r, y * r) : context.moveTo(x * r, y * r)))
  context.closePath()
}

/** @param {CanvasRenderingContext2D} context @param {number} radius @param {readonly (readonly [number, string])[]} stops */
function glow(context, radius, stops) {
  const gradient = context.createRadialGradient(0, 0, 0, 0, 0, radius)
  for (const [at, colour] of stops) gradient.addColorStop(at, colour)
  context.fillStyle = gradient
  context.fillRect(-radius, -radius, 2 * radius, 2 * radius)
}

/** @type {readonly (readonly [number, number])[]} */
const HULL = [[1.18, 0], [0.28, 0.34], [-0.42, 0.92], [-0.86, 0.86], [-0.62, 0.32], [-0.5, 0], [-0.62, -0.32], [-0.86, -0.86], [-0.42, -0.92], [0.28, -0.34]] // prettier-ignore
/** @type {readonly (readonly [number, number])[]} */
const COCKPIT = [[0.7, 0], [0.18, 0.17], [-0.12, 0.13], [-0.2, 0], [-0.12, -0.13], [0.18, -0.17]] // prettier-ignore
/** @type {readonly (readonly [number, number])[]} */
const SHELL = [[0.95, 0.3], [0.5, 0.82], [-0.3, 0.9], [-0.92, 0.42], [-0.7, 0], [-0.92, -0.42], [-0.3, -0.9], [0.5, -0.82], [0.95, -0.3], [0.62, 0]] // prettier-ignore

/** A ship of a player. @param {number} r @param {number} hue @param {boolean} own @param {number} density */
function drawShip(r, hue, own, density) {
  return sprite(r * 5, r * 5, density, (c) => {
    glow(c, r * 2.5, [[0, hsl(hue, 60, own ? 0.34 : 0.22)], [0.45, hsl(hue, 55, own ? 0.1 : 0.06)], [1, hsl(hue, 50, 0)]]) // prettier-ignore
    c.lineJoin = 'round'
    outline(c, HULL, r)
    const body = c.createLinearGradient(-r, 0, r, 0)
    body.addColorStop(0, own ? 'hsl(200 45% 11%)' : hsl(hue, 9, 1, 40))
    body.addColorStop(1, own ? 'hsl(194 45% 27%)' : hsl(hue, 22, 1, 40))
    c.fillStyle = body
    c.fill()
    c.lineWidth = Math.max(1.2, r * 0.11)
    c.strokeStyle = own ? 'hsl(186 100% 88%)' : hsl(hue, 70)
    c.stroke()
    c.lineWidth = Math.max(0.6, r * 0.045)
    c.strokeStyle = own ? hsl(hue, 80, 0.5) : hsl(hue, 70, 0.45)
    c.beginPath()
    c.moveTo(-r * 0.5, 0)
    c.lineTo(r * 0.1, r * 0.28)
    c.moveTo(-r * 0.5, 0)
    c.lineTo(r * 0.1, -r * 0.28)
    c.stroke()
    outline(c, COCKPIT, r)
    c.fillStyle = own ? 'hsl(184 100% 93%)' : hsl(hue, 82, 0.9)
    c.fill()
  })
}

/** A drone. @param {number} r @param {number} density */
function drawDrone(r, density) {
  return sprite(r * 4.6, r * 4.6, density, (c) => {
    glow(c, r * 2.3, [[0, hsl(DRONE_HUE, 55, 0.24)], [0.5, hsl(DRONE_HUE, 50, 0.06)], [1, hsl(DRONE_HUE, 50, 0)]]) // prettier-ignore
    c.lineJoin = 'round'
    outline(c, SHELL, r * 0.86)
    c.fillStyle = 'hsl(355 28% 10%)'
    c.fill()
    c.lineWidth = Math.max(1, r * 0.1)
    c.strokeStyle = hsl(DRONE_HUE, 62, 0.95)
    c.stroke()
    c.beginPath()
    c.arc(0, 0, r * 0.36, 0, 2 * Math.PI)
    c.lineWidth = Math.max(0.6, r * 0.06)
    c.strokeStyle = hsl(DRONE_HUE, 60, 0.5)
    c.stroke()
    c.translate(r * 0.1, 0)
    glow(c, r * 0.34, [[0, 'hsl(20 100% 88%)'], [0.3, hsl(12, 65, 0.9)], [1, hsl(DRONE_HUE, 55, 0)]]) // prettier-ignore
  })
}

/** A crystal. @param {number} r @param {number} hue @param {number} density */
function drawCrystal(r, hue, density) {
  return sprite(r * 5, r * 5, density, (c) => {
    glow(c, r * 2.5, [[0, hsl(hue, 62, 0.3)], [0.4, hsl(hue, 55, 0.09)], [1, hsl(hue, 50, 0)]]) // prettier-ignore
    const [w, h, m] = [r * 0.62, r, -r * 0.18]
    /** @param {[number, number][]} points @param {string} fill */
    const facet = (points, fill) => {
      outline(c, points, 1)
      c.fillStyle = fill
      c.fill()
    }
    facet([[0, -h], [-w, m], [-w * 0.2, m]], hsl(hue, 80)) // prettier-ignore
    facet([[0, -h], [-w * 0.2, m], [w * 0.45, m]], hsl(hue, 90)) // prettier-ignore
    facet([[0, -h], [w * 0.45, m], [w, m]], hsl(hue, 64)) // prettier-ignore
    facet([[-w, m], [-w * 0.2, m], [0, h]], hsl(hue, 60)) // prettier-ignore
    facet([[-w * 0.2, m], [w * 0.45, m], [0, h]], hsl(hue, 70)) // prettier-ignore
    facet([[w * 0.45, m], [w, m], [0, h]], hsl(hue, 42)) // prettier-ignore
    c.lineJoin = 'round'
    c.lineWidth = Math.max(0.6, r * 0.07)
    c.strokeStyle = hsl(hue, 92, 0.7)
    outline(c, [[0, -h], [w, m], [0, h], [-w, m]], 1) // prettier-ignore
    c.stroke()
  })
}

/** A four-pointed glint. @param {number} r @param {number} density */
function drawGlint(r, density) {
  return sprite(r * 2, r * 2, density, (c) => {
    for (const turn of [0, Math.PI / 2]) {
      c.save()
      c.rotate(turn)
      const ray = c.createLinearGradient(-r, 0, r, 0)
      ray.addColorStop(0, 'rgb(255 255 255 / 0)')
      ray.addColorStop(0.5, 'rgb(255 255 255 / 0.95)')
      ray.addColorStop(1, 'rgb(255 255 255 / 0)')
      c.fillStyle = ray
      outline(c, [[-r, 0], [0, r * 0.07], [r, 0], [0, -r * 0.07]], 1) // prettier-ignore
      c.fill()
      c.restore()
    }
    glow(c, r * 0.3, [[0, 'rgb(255 255 255 / 0.9)'], [1, 'rgb(255 255 255 / 0)']]) // prettier-ignore
  })
}

/** A shot: its head at the right end. @param {number} length @param {number} thick @param {number} hue @param {number} density */
function drawBolt(length, thick, hue, density) {
  return sprite(length, thick * 6, density, (c) => {
    const [left, right] = [-length / 2, length / 2 - thick * 3]
    const halo = c.createLinearGradient(left, 0, right, 0)
    halo.addColorStop(0, hsl(hue, 55, 0))
    halo.addColorStop(1, hsl(hue, 60, 0.4))
    c.lineCap = 'round'
    c.strokeStyle = halo
    for (const [width, alpha] of [[thick * 4, 0.25], [thick * 2.2, 0.6]]) { // prettier-ignore
      c.globalAlpha = alpha
      c.lineWidth = width
      c.beginPath()
      c.moveTo(left + thick * 3, 0)
      c.lineTo(right, 0)
      c.stroke()
    }
    c.globalAlpha = 1
    const core = c.createLinearGradient(left, 0, right, 0)
    core.addColorStop(0, hsl(hue, 70, 0))
    core.addColorStop(0.6, hsl(hue, 75, 0.8))
    core.addColorStop(1, hsl(hue, 97))
    c.strokeStyle = core
    c.lineWidth = thick
    c.beginPath()
    c.moveTo(left, 0)
    c.lineTo(right, 0)
    c.stroke()
  })
}

/** A flame behind an engine, its root at the right end. @param {number} length @param {number} hue @param {number} density */
function drawFlame(length, hue, density) {
  const made = sprite(length, length * 0.6, density, (c) => {
    c.scale(1, 0.32)
    c.translate(length * 0.32, 0)
    glow(c, length * 0.8, [[0, hsl(hue, 96)], [0.16, hsl(hue, 82, 0.85)], [0.42, hsl(hue, 60, 0.32)], [1, hsl(hue, 50, 0)]]) // prettier-ignore
  })
  return { ...made, x: length * 0.82 }
}

/** A soft dot. @param {number} r @param {number} hue @param {number} density */
function drawSpark(r, hue, density) {
  return sprite(r * 2, r * 2, density, (c) =>
    glow(c, r, [[0, hsl(hue, 96)], [0.25, hsl(hue, 78, 0.85)], [0.6, hsl(hue, 58, 0.22)], [1, hsl(hue, 50, 0)]]), // prettier-ignore
  )
}

/** All sprites, for one scale of the page. */
export class Art {
  /** @type {Map<string, Sprite>} */ #sprites = new Map()

  /** @param {number} scale pixels of the page a unit of the world @param {number} density device pixels a pixel of the page */
  constructor(scale, density) {
    this.scale = scale
    this.density = density
  }

  /** @param {string} key @param {() => Sprite} make */
  #made(key, make) {
    let found = this.#sprites.get(key)
    if (!found) this.#sprites.set(key, (found = make()))
    return found
  }

  /** @param {number} hue @param {boolean} own */
  ship(hue, own) {
    return this.#made(`ship ${hue} ${own}`, () => drawShip(this.scale * 2, hue, own, this.density))
  }

  drone() {
    return this.#made('drone', () => drawDrone(this.scale * 1.7, this.density))
  }

  /** @param {number} value */
  crystal(value) {
    const [hue, r] = value >= 25 ? [44, 1.35] : value >= 10 ? [268, 1.1] : [162, 0.95]
    return this.#made(`crystal ${hue}`, () => drawCrystal(this.scale * r, hue, this.density))
  }

  glint() {
    return this.#made('glint', () => drawGlint(this.scale * 1.5, this.density))
  }

  /** @param {number} hue */
  bolt(hue) {
    return this.#made(`bolt ${hue}`, () => drawBolt(this.scale * 4.6, Math.max(1.4, this.scale * 0.2), hue, this.density))
  }

  /** @param {number} hue */
  flame(hue) {
    return this.#made(`flame ${hue}`, () => drawFlame(this.scale * 4.4, hue, this.density))
  }

  /** @param {number} hue */
  spark(hue) {
    return this.#made(`spark ${hue}`, () => drawSpark(this.scale * 0.7, hue, this.density))
  }
}
