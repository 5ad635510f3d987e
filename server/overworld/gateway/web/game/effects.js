/** Sparks, rings and trails. A fixed number of particles: when all are in use, the oldest make room. */

const PARTICLES_MAX = 2400
const RINGS_MAX = 48
const WORDS_MAX = 24
const BEAMS_MAX = 32
const BEAM_MS = 260

/** @typedef {{x: number, y: number, born_ms: number, life_ms: number, from: number, to: number, hue: number}} Ring */
/** @typedef {{x: number, y: number, born_ms: number, text: string, colour: string}} Word */
/** @typedef {{x: number, y: number, to_x: number, to_y: number, born_ms: number, hue: number}} Beam */

/** See the module. Lengths are in the title's measure, velocities per second. */
export class Effects {
  #x = new Float32Array(PARTICLES_MAX)
  #y = new Float32Array(PARTICLES_MAX)
  #vx = new Float32Array(PARTICLES_MAX)
  #vy = new Float32Array(PARTICLES_MAX)
  #left = new Float32Array(PARTICLES_MAX)
  #life = new Float32Array(PARTICLES_MAX)
  #size = new Float32Array(PARTICLES_MAX)
  #alpha = new Float32Array(PARTICLES_MAX)
  #hue = new Int16Array(PARTICLES_MAX)
  #next = 0
  /** @type {Ring[]} */ #rings = []
  /** @type {Word[]} */ #words = []
  /** @type {Beam[]} */ #beams = []
  /** @type {{at_ms: number, run: () => void}[]} */ #later = []
  /** Fewer of everything, for who asked for less motion. */
  calm = false

  /** @param {number} x @param {number} y @param {number} vx @param {number} vy @param {number} life_ms @param {number} size @param {number} hue @param {number} [alpha] */
  spark(x, y, vx, vy, life_ms, size, hue, alpha = 1) {
    const i = this.#next
    this.#next = (i + 1) % PARTICLES_MAX
    this.#x[i] = x
    this.#y[i] = y
    this.#vx[i] = vx
    this.#vy[i] = vy
    this.#left[i] = this.#life[i] = life_ms
    this.#size[i] = size
    this.#hue[i] = hue
    this.#alpha[i] = alpha
  }

  /** @param {number} x @param {number} y @param {number} hue @param {{count?: number, speed?: number, life_ms?: number, size?: number, vx?: number, vy?: number}} [how] */
  burst(x, y, hue, { count = 12, speed = 18, life_ms = 420, size = 1, vx = 0, vy = 0 } = {}) {
    const many = this.calm ? Math.ceil(count / 4) : count
    for (let k = 0; k < many; k++) {
      const angle = Math.random() * 2 * Math.PI
      const v = speed * (0.15 + 0.85 * Math.random())
      this.spark(x, y, vx + v * Math.cos(angle), vy + v * Math.sin(angle), life_ms * (0.4 + 0.6 * Math.random()), size * (0.5 + 0.7 * Math.random()), hue)
    }
  }

  /** @param {Ring} ring */
  ring(ring) {
    if (this.#rings.length >= RINGS_MAX) this.#rings.shift()
    this.#rings.push(ring)
  }

  /** A ship or drone ends. @param {number} x @param {number} y @param {number} hue @param {number} now_ms @param {number} size @param {number} vx @param {number} vy */
  explode(x, y, hue, now_ms, size, vx = 0, vy = 0) {
    const drift = { vx: vx * 0.5, vy: vy * 0.5 }
    this.burst(x, y, 44, { count: 26 * size, speed: 20 * size, life_ms: 520, size: 1.5, ...drift })
    this.burst(x, y, hue, { count: 34 * size, speed: 34 * size, life_ms: 900, size: 1, ...drift })
    this.burst(x, y, 20, { count: 14 * size, speed: 9 * size, life_ms: 1300, size: 2.2, ...drift })
    this.ring({ x, y, born_ms: now_ms, life_ms: 560, from: 1, to: 11 * size, hue })
    this.ring({ x, y, born_ms: now_ms, life_ms: 320, from: 0.5, to: 6 * size, hue: 44 })
  }

  /** @param {number} x @param {number} y @param {string} text @param {string} colour @param {number} now_ms */
  word(x, y, text, colour, now_ms) {
    if (this.#words.length >= WORDS_MAX) this.#words.shift()
    this.#words.push({ x, y, text, colour, born_ms: now_ms })
  }

  /** A ray from one place to another. @param {number} x @param {number} y @param {number} to_x @param {number} to_y @param {number} hue @param {number} born_ms */
  beam(x, y, to_x, to_y, hue, born_ms) {
    if (this.#beams.length >= BEAMS_MAX) this.#beams.shift()
    this.#beams.push({ x, y, to_x, to_y, hue, born_ms })
  }

  /** @param {number} at_ms @param {() => void} run */
  later(at_ms, run) {
    this.#later.push({ at_ms, run })
  }

  /** @param {number} elapsed_ms @param {number} now_ms */
  advance(elapsed_ms, now_ms) {
    const due = this.#later.filter((task) => task.at_ms <= now_ms)
    if (due.length) {
      this.#later = this.#later.filter((task) => task.at_ms > now_ms)
      for (const task of due) task.run()
    }
    const dt = elapsed_ms / 1000
    const drag = Math.exp(-2.4 * dt)
    for (let i = 0; i < PARTICLES_MAX; i++) {
      if (this.#left[i] <= 0) continue
      this.#left[i] -= elapsed_ms
      this.#x[i] += this.#vx[i] * dt
      this.#y[i] += this.#vy[i] * dt
      this.#vx[i] *= drag
      this.#vy[i] *= drag
    }
    this.#rings = this.#rings.filter((ring) => now_ms - ring.born_ms < ring.life_ms)
    this.#beams = this.#beams.filter((beam) => now_ms - beam.born_ms < BEAM_MS)
    this.#words = this.#words.filter((word) => now_ms - word.born_ms < 900)
  }

  /** @param {CanvasRenderingContext2D} context @param {import('./camera.js').Camera} camera @param {import('./art.js').Art} art @param {number} now_ms */
  draw(context, camera, art, now_ms) {
    context.globalCompositeOperation = 'lighter'
    for (let i = 0; i < PARTICLES_MAX; i++) {
      if (this.#left[i] <= 0) continue
      const [x, y] = [camera.x(this.#x[i]), camera.y(this.#y[i])]
      if (x < -20 || y < -20 || x > camera.width + 20 || y > camera.height + 20) continue
      const t = this.#left[i] / this.#life[i]
      const { image, width } = art.spark(this.#hue[i])
      const side = width * this.#size[i] * (0.35 + 0.65 * t)
      context.globalAlpha = t * this.#alpha[i]
      context.drawImage(image, x - side / 2, y - side / 2, side, side)
    }
    for (const { x, y, born_ms, life_ms, from, to, hue } of this.#rings) {
      // What happens while a frame is being made is a little younger than the frame.
      const t = Math.max(0, Math.min(1, (now_ms - born_ms) / life_ms))
      const ease = 1 - (1 - t) ** 3
      context.globalAlpha = (1 - t) ** 2
      context.lineWidth = Math.max(0.5, camera.scale * 0.5 * (1 - t))
      context.strokeStyle = `hsl(${hue} 95% 72%)`
      context.beginPath()
      context.arc(camera.x(x), camera.y(y), (from + (to - from) * ease) * camera.scale, 0, 2 * Math.PI)
      context.stroke()
    }
    for (const { x, y, to_x, to_y, hue, born_ms } of this.#beams) {
      const left = Math.max(0, 1 - (now_ms - born_ms) / BEAM_MS)
      for (const [wide, light] of /** @type {const} */ ([[0.9, 62], [0.25, 92]])) {
        context.globalAlpha = left ** 1.5
        context.lineWidth = Math.max(0.5, camera.scale * wide * left)
        context.strokeStyle = `hsl(${hue} 95% ${light}%)`
        context.beginPath()
        context.moveTo(camera.x(x), camera.y(y))
        context.lineTo(camera.x(to_x), camera.y(to_y))
        context.stroke()
      }
    }
    context.globalCompositeOperation = 'source-over'
    context.textAlign = 'center'
    context.font = `600 ${Math.round(Math.max(12, camera.scale * 1.25))}px system-ui, sans-serif`
    for (const { x, y, born_ms, text, colour } of this.#words) {
      const t = Math.max(0, (now_ms - born_ms) / 900)
      context.globalAlpha = Math.min(1, 2 * (1 - t))
      context.fillStyle = colour
      context.fillText(text, camera.x(x), camera.y(y) - camera.scale * (3.2 + 2.6 * t))
    }
    context.globalAlpha = 1
  }
}
