/** The page: its parts, its loop, and the way from the start card into the world and back. */

import { Art } from './game/art.js'
import { Backdrop } from './game/backdrop.js'
import { Camera } from './game/camera.js'
import { Controls } from './game/controls.js'
import { Effects } from './game/effects.js'
import { Game } from './game/game.js'
import { Hud } from './game/hud.js'
import { Messages } from './game/messages.js'
import { FrameTimes, Numbers } from './game/numbers.js'
import { Radar } from './game/radar.js'
import { fetchTicket, rememberedName, rememberName } from './game/ticket.js'

/** How much of the world shows: half of the page's diagonal, in the title's measure; never more than the server shows. */
const VIEW = 58
const DENSITY_MAX = 2
const HELP_MS = 14_000

/** @param {string} id @returns {any} */
const byId = (id) => document.getElementById(id)

const canvas = /** @type {HTMLCanvasElement} */ (byId('world'))
const lessMotion = matchMedia('(prefers-reduced-motion: reduce)')
const frames = new FrameTimes()
const numbers = new Numbers(byId('numbers'))
const messages = new Messages(byId('message'))
const hud = new Hud()
const radar = new Radar(byId('radar'))

/** @type {import('./game/scene.js').Stage} */
const stage = {
  context: /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d', { alpha: false })),
  camera: new Camera(),
  art: new Art(10, 1),
  effects: new Effects(),
  backdrop: new Backdrop(Math.min(DENSITY_MAX, devicePixelRatio)),
}

/** @type {Game | null} */
let game = null
let drift_ms = 0

const controls = new Controls(
  { surface: canvas, stick: byId('stick'), fire: byId('fire'), touch: byId('touch') },
  (command) => game?.steer(command),
)

// ---------------------------------------------------------------- the loop

let last_ms = performance.now()

/** @param {number} now_ms */
function frame(now_ms) {
  requestAnimationFrame(frame)
  const begun_ms = performance.now()
  const gap_ms = now_ms - last_ms
  const elapsed_ms = Math.max(0, Math.min(100, gap_ms))
  last_ms = now_ms
  resize()
  if (game) {
    // Others' places are asked for the time at which the frame is drawn, which is what the clocks were set by.
    game.frame(begun_ms, elapsed_ms)
    if (game.things.own) controls.aim(game.things.own.angle)
    if (controls.lance) game.lance(begun_ms)
    numbers.update(game.client.numbers(), frames.read(), begun_ms)
  } else {
    drawWaiting(elapsed_ms)
  }
  messages.refresh()
  frames.add(performance.now() - begun_ms, gap_ms)
}

/** Space drifting by behind the start card. @param {number} elapsed_ms */
function drawWaiting(elapsed_ms) {
  const { context, camera, backdrop } = stage
  drift_ms += lessMotion.matches ? 0 : elapsed_ms
  context.setTransform(camera.density, 0, 0, camera.density, 0, 0)
  backdrop.draw(context, camera.width, camera.height, drift_ms * 0.05, drift_ms * 0.018)
}

/** Keeps the canvas as sharp as the screen; sprites are made anew for another scale. */
function resize() {
  const density = Math.min(DENSITY_MAX, devicePixelRatio || 1)
  const [width, height] = [window.innerWidth, window.innerHeight]
  const view = Math.min(VIEW, (game?.world?.view ?? Infinity) * 0.91)
  const { camera } = stage
  if (camera.width === width && camera.height === height && camera.density === density && camera.scale === stage.art.scale) {
    if (Math.abs(camera.scale - Math.hypot(width, height) / 2 / view) < 1e-6) return
  }
  canvas.width = Math.round(width * density)
  canvas.height = Math.round(height * density)
  if (camera.density !== density) stage.backdrop = new Backdrop(density)
  camera.resize(width, height, density, view)
  stage.art = new Art(camera.scale, density)
}

// ---------------------------------------------------------------- into the world and back

const card = /** @type {HTMLFormElement} */ (byId('card'))
const nameInput = /** @type {HTMLInputElement} */ (byId('name'))
const playButton = /** @type {HTMLButtonElement} */ (byId('play'))

async function play() {
  const name = nameInput.value.trim()
  rememberName(name)
  playButton.disabled = true
  byId('start-error').textContent = ''
  try {
    const ticket = await fetchTicket()
    hud.forget()
    game = new Game({ stage, hud, radar, messages, calm: () => lessMotion.matches, borders: () => numbers.shown }, ticket, name, ended)
    publish(game)
    byId('start').hidden = true
    hud.show(true)
    controls.activate(true)
    canvas.focus()
    byId('help').classList.remove('gone')
    setTimeout(() => byId('help').classList.add('gone'), HELP_MS)
  } catch (error) {
    const words = error instanceof Error ? error.message : String(error)
    byId('start-error').textContent = `Could not start: ${words}`
  } finally {
    playButton.disabled = false
  }
}

/** @param {string} why */
function ended(why) {
  controls.activate(false)
  hud.show(false)
  game = null
  byId('start').hidden = false
  byId('start-error').textContent = why
  playButton.textContent = 'Fly again'
  playButton.focus()
}

card.addEventListener('submit', (event) => {
  event.preventDefault()
  void play()
})

window.addEventListener('keydown', (event) => {
  if (event.code !== 'F3') return
  event.preventDefault()
  numbers.toggle()
})
byId('numbers-button').addEventListener('click', () => numbers.toggle())
window.addEventListener('pagehide', () => game?.leave())

/** For tests and the curious. @param {Game} current */
function publish(current) {
  const { client, things } = current
  Object.assign(window, {
    overworld: {
      client,
      stats: () => {
        const { own } = things
        const ship = own && { id: own.id, x: own.x, y: own.y, angle: own.angle, hp: own.hp, score: own.score, alive: own.alive }
        return { ...client.numbers(), ...frames.read(), ship, things: things.all.size, command: controls.command }
      },
    },
  })
}

nameInput.value = rememberedName()
if (matchMedia('(pointer: coarse)').matches) document.body.classList.add('touched')
else nameInput.focus()
requestAnimationFrame(frame)
