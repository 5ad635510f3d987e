/** Space behind the game: a faint nebula, stars in three depths, and lines to see one's motion by. */

/** Sides have no common measure, so that the same pattern of stars never comes back on one page. */
const LAYERS = [
  { side: 1013, depth: 0.05, count: 520, size: 0.7, light: 0.5 },
  { side: 887, depth: 0.14, count: 150, size: 1, light: 0.75 },
  { side: 761, depth: 0.32, count: 30, size: 1.4, light: 1 },
]
const NEBULA = 176
const NEBULA_DEPTH = 0.03

/** Chance that is the same on every visit. @param {number} seed */
function chances(seed) {
  let state = seed
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

/** @param {number} width @param {number} height */
function blank(width, height) {
  const image = document.createElement('canvas')
  image.width = width
  image.height = height
  return { image, context: /** @type {CanvasRenderingContext2D} */ (image.getContext('2d')) }
}

/** @param {(typeof LAYERS)[number]} layer @param {number} seed @param {number} density */
function starTile(layer, seed, density) {
  const pixels = Math.ceil(layer.side * density)
  const { image, context } = blank(pixels, pixels)
  context.scale(pixels / layer.side, pixels / layer.side)
  const random = chances(seed)
  for (let i = 0; i < layer.count; i++) {
    const [x, y] = [random() * layer.side, random() * layer.side]
    const bright = layer.light * (0.25 + 0.75 * random() ** 3)
    const r = layer.size * (0.5 + 0.6 * random())
    const hue = random() < 0.75 ? 210 + random() * 20 : 30
    if (bright > 0.62 && r > 0.8) {
      const halo = context.createRadialGradient(x, y, 0, x, y, r * 7)
      halo.addColorStop(0, `hsl(${hue} 90% 75% / ${bright * 0.28})`)
      halo.addColorStop(1, `hsl(${hue} 90% 60% / 0)`)
      context.fillStyle = halo
      context.fillRect(x - r * 7, y - r * 7, r * 14, r * 14)
    }
    context.fillStyle = `hsl(${hue} 65% 88% / ${bright})`
    context.beginPath()
    context.arc(x, y, r, 0, 2 * Math.PI)
    context.fill()
  }
  return image
}

/** Gradient noise that repeats after 1 in both directions, about -0.7..0.7. @param {number} cells @param {() => number} random */
function noise(cells, random) {
  const slopes = Array.from({ length: cells * cells }, () => {
    const angle = random() * 2 * Math.PI
    return [Math.cos(angle), Math.sin(angle)]
  })
  const corner = (/** @type {number} */ ix, /** @type {number} */ iy, /** @type {number} */ dx, /** @type {number} */ dy) => {
    const slope = slopes[(((iy % cells) + cells) % cells) * cells + (((ix % cells) + cells) % cells)]
    return slope[0] * dx + slope[1] * dy
  }
  const ease = (/** @type {number} */ t) => t * t * t * (t * (t * 6 - 15) + 10)
  return (/** @type {number} */ u, /** @type {number} */ v) => {
    const [x, y] = [u * cells, v * cells]
    const [ix, iy] = [Math.floor(x), Math.floor(y)]
    const [fx, fy] = [x - ix, y - iy]
    const [ex, ey] = [ease(fx), ease(fy)]
    const top = corner(ix, iy, fx, fy) * (1 - ex) + corner(ix + 1, iy, fx - 1, fy) * ex
    const low = corner(ix, iy + 1, fx, fy - 1) * (1 - ex) + corner(ix + 1, iy + 1, fx - 1, fy - 1) * ex
    return top * (1 - ey) + low * ey
  }
}

/** Several octaves of noise, about -1..1. @param {number} first @param {number} count @param {() => number} random */
function cloud(first, count, random) {
  const octaves = Array.from({ length: count }, (_, i) => noise(first * 2 ** i, random))
  return (/** @type {number} */ u, /** @type {number} */ v) => octaves.reduce((sum, octave, i) => sum + octave(u, v) / 1.9 ** i, 0)
}

/** A tile of thin clouds, folded as smoke is. It repeats, and is drawn very large. */
function nebulaTile() {
  const { image, context } = blank(NEBULA, NEBULA)
  const random = chances(23)
  const [folds, shifts, teal, violet] = [cloud(2, 3, random), cloud(2, 3, random), cloud(2, 5, random), cloud(2, 4, random)]
  const data = context.createImageData(NEBULA, NEBULA)
  for (let i = 0; i < NEBULA * NEBULA; i++) {
    const [u, v] = [(i % NEBULA) / NEBULA, Math.floor(i / NEBULA) / NEBULA]
    const [fu, fv] = [u + 0.16 * folds(u, v), v + 0.16 * shifts(u, v)]
    const a = Math.max(0, teal(fu, fv) + 0.16) ** 1.5
    const b = Math.max(0, violet(fu + 0.37, fv + 0.11) + 0.02) ** 1.6
    // Over the blue-black of the page.
    data.data.set([5 + 14 * a + 46 * b, 8 + 44 * a + 16 * b, 17 + 58 * a + 70 * b, 255], i * 4)
  }
  context.putImageData(data, 0, 0)
  return image
}

/** See the module. */
export class Backdrop {
  /** @param {number} density device pixels a pixel of the page */
  constructor(density) {
    this.nebula = nebulaTile()
    this.tiles = LAYERS.map((layer, i) => starTile(layer, 7 + i * 101, density))
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {number} width of the page
   * @param {number} height
   * @param {number} x where the camera is, in pixels
   * @param {number} y
   */
  draw(context, width, height, x, y) {
    const side = Math.max(width, height) * 1.25
    this.#tile(context, this.nebula, side, width, height, x * NEBULA_DEPTH, y * NEBULA_DEPTH)
    LAYERS.forEach((layer, i) => this.#tile(context, this.tiles[i], layer.side, width, height, x * layer.depth, y * layer.depth))
  }

  /**
   * @param {CanvasRenderingContext2D} context
   * @param {HTMLCanvasElement} image
   * @param {number} side
   * @param {number} width
   * @param {number} height
   * @param {number} x
   * @param {number} y
   */
  #tile(context, image, side, width, height, x, y) {
    const [left, top] = [-(((x % side) + side) % side), -(((y % side) + side) % side)]
    for (let ty = top; ty < height; ty += side) {
      // Half a pixel of overlap: no seams where sizes are fractions.
      for (let tx = left; tx < width; tx += side) context.drawImage(image, tx, ty, side + 0.5, side + 0.5)
    }
  }
}

/**
 * The world's own lines: cells, its edge, and faintly the borders between shards, which mean nothing to who flies.
 *
 * @param {CanvasRenderingContext2D} context
 * @param {import('./camera.js').Camera} camera
 * @param {import('./game.js').World} world in the title's measure
 * @param {boolean} borders whether those between shards are to be seen
 */
export function drawWorldLines(context, camera, world, borders) {
  const { left, top, right, bottom } = camera.bounds()
  const [west, east] = [Math.max(0, left), Math.min(world.width, right)]
  const [north, south] = [Math.max(0, top), Math.min(world.height, bottom)]
  const line = (/** @type {number} */ x0, /** @type {number} */ y0, /** @type {number} */ x1, /** @type {number} */ y1) => {
    context.moveTo(camera.x(x0), camera.y(y0))
    context.lineTo(camera.x(x1), camera.y(y1))
  }
  for (const [step, alpha] of [[world.cell, 0.035], [world.cell * 4, 0.06]]) { // prettier-ignore
    context.beginPath()
    for (let x = Math.ceil(west / step) * step; x <= east; x += step) line(x, north, x, south)
    for (let y = Math.ceil(north / step) * step; y <= south; y += step) line(west, y, east, y)
    context.lineWidth = 1
    context.strokeStyle = `hsl(200 80% 75% / ${alpha})`
    context.stroke()
  }
  if (borders) {
    context.beginPath()
    for (const [x0, y0, x1, y1] of world.borders) line(x0, y0, x1, y1)
    context.setLineDash([camera.scale * 1.2, camera.scale * 0.9])
    context.strokeStyle = 'hsl(38 95% 62% / 0.22)'
    context.stroke()
    context.setLineDash([])
  }
  drawOutside(context, camera, world)
}

/** @param {CanvasRenderingContext2D} context @param {import('./camera.js').Camera} camera @param {{width: number, height: number}} world */
function drawOutside(context, camera, world) {
  const [x0, y0, x1, y1] = [camera.x(0), camera.y(0), camera.x(world.width), camera.y(world.height)]
  if (x0 <= 0 && y0 <= 0 && x1 >= camera.width && y1 >= camera.height) return
  context.beginPath()
  context.rect(-9, -9, camera.width + 18, camera.height + 18)
  context.rect(x0, y0, x1 - x0, y1 - y0)
  context.fillStyle = 'rgb(2 2 6 / 0.78)'
  context.fill('evenodd')
  for (const [width, alpha] of [[camera.scale * 2.4, 0.05], [camera.scale, 0.1], [1.6, 0.85]]) { // prettier-ignore
    context.strokeStyle = `hsl(350 90% 64% / ${alpha})`
    context.lineWidth = width
    context.strokeRect(x0, y0, x1 - x0, y1 - y0)
  }
}
