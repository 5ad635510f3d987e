/** Keyboard and fingers, made into the one command the ship holds. */

import { NOTHING, sameCommand } from './frontier.js'

/** @typedef {import('./frontier.js').Command} Command */

/** @type {Record<string, 'left' | 'right' | 'ahead' | 'brake' | 'fire' | 'lance'>} */
const KEYS = {
  KeyA: 'left',
  ArrowLeft: 'left',
  KeyD: 'right',
  ArrowRight: 'right',
  KeyW: 'ahead',
  ArrowUp: 'ahead',
  KeyS: 'brake',
  ArrowDown: 'brake',
  Space: 'fire',
  KeyE: 'lance',
  ShiftLeft: 'lance',
}

/** How far the thumb goes for the full reach of the stick, pixels. */
const STICK_REACH = 56
/** Within this share of the reach the stick brakes; beyond it, it flies. */
const STICK_CENTRE = 0.28
/** The ship keeps turning for so long after the stick says stop: the way to the server and back, and a tick. */
const TURN_LAG_S = 0.1
const TURN_RATE = (5 * 20 * 2 * Math.PI) / 256
const AIM_CLOSE = 0.09

/** See the module. Calls `changed` whenever the command is another. `lance`: whether the second trigger is held. */
export class Controls {
  /** @type {Readonly<Command>} */ command = NOTHING
  /** Fingers were used: the page shows the stick. */
  touched = false
  #held = new Set()
  #active = false
  #changed
  #elements
  /** @type {{pointer: number, x: number, y: number, angle: number, reach: number} | null} */ #stick = null
  #firePointers = new Set()
  #heading = 0

  /**
   * @param {{surface: HTMLElement, stick: HTMLElement, fire: HTMLElement, touch: HTMLElement}} elements
   * @param {(command: Readonly<Command>) => void} changed
   */
  constructor(elements, changed) {
    this.#elements = elements
    this.#changed = changed
    window.addEventListener('keydown', (event) => this.#key(event, true))
    window.addEventListener('keyup', (event) => this.#key(event, false))
    window.addEventListener('blur', () => this.release())
    document.addEventListener('visibilitychange', () => document.hidden && this.release())
    this.#listenToFingers()
  }

  /** @param {boolean} active whether there is a ship to steer */
  activate(active) {
    this.#active = active
    if (!active) this.release()
  }

  /** Lets go of everything. */
  release() {
    this.#held.clear()
    this.#firePointers.clear()
    this.#stick = null
    this.#elements.stick.classList.remove('held')
    this.#update()
  }

  get lance() {
    return [...this.#held].some((code) => KEYS[code] === 'lance')
  }

  /** Where the own ship points now: the stick names a direction, and the ship has to be turned there. @param {number} angle */
  aim(angle) {
    this.#heading = angle
    if (this.#stick) this.#update()
  }

  /** @param {KeyboardEvent} event @param {boolean} down */
  #key(event, down) {
    const action = KEYS[event.code]
    if (!action || event.ctrlKey || event.metaKey || event.altKey || !this.#active) return
    if (event.target instanceof HTMLInputElement) return
    event.preventDefault()
    if (event.repeat) return
    if (down) this.#held.add(event.code)
    else this.#held.delete(event.code)
    this.#update()
  }

  #listenToFingers() {
    const { surface, stick, fire } = this.#elements
    surface.addEventListener('pointerdown', (event) => {
      if (event.pointerType === 'mouse' || !this.#active) return
      this.#showTouch()
      if (event.clientX > surface.clientWidth * 0.62 || this.#stick) return
      event.preventDefault()
      surface.setPointerCapture(event.pointerId)
      this.#stick = { pointer: event.pointerId, x: event.clientX, y: event.clientY, angle: 0, reach: 0 }
      stick.style.left = `${event.clientX}px`
      stick.style.top = `${event.clientY}px`
      stick.classList.add('held')
      this.#moveStick(event)
    })
    surface.addEventListener('pointermove', (event) => this.#moveStick(event))
    for (const end of /** @type {const} */ (['pointerup', 'pointercancel'])) {
      surface.addEventListener(end, (event) => {
        if (this.#stick?.pointer !== event.pointerId) return
        this.#stick = null
        stick.classList.remove('held')
        this.#update()
      })
      fire.addEventListener(end, (event) => {
        this.#firePointers.delete(event.pointerId)
        this.#update()
      })
    }
    fire.addEventListener('pointerdown', (event) => {
      if (!this.#active) return
      event.preventDefault()
      fire.setPointerCapture(event.pointerId)
      this.#firePointers.add(event.pointerId)
      this.#update()
    })
    fire.addEventListener('contextmenu', (event) => event.preventDefault())
    surface.addEventListener('contextmenu', (event) => event.preventDefault())
  }

  #showTouch() {
    if (this.touched) return
    this.touched = true
    this.#elements.touch.hidden = false
    document.body.classList.add('touched')
  }

  /** @param {PointerEvent} event */
  #moveStick(event) {
    const stick = this.#stick
    if (stick?.pointer !== event.pointerId) return
    const [dx, dy] = [event.clientX - stick.x, event.clientY - stick.y]
    const length = Math.hypot(dx, dy)
    stick.angle = Math.atan2(dy, dx)
    stick.reach = Math.min(1, length / STICK_REACH)
    const knob = /** @type {HTMLElement} */ (this.#elements.stick.firstElementChild)
    const shown = Math.min(length, STICK_REACH) / (length || 1)
    knob.style.transform = `translate(${dx * shown}px, ${dy * shown}px)`
    this.#update()
  }

  #update() {
    const command = this.#active ? this.#read() : NOTHING
    if (sameCommand(command, this.command)) return
    this.command = command
    this.#changed(command)
  }

  /** @returns {Command} */
  #read() {
    const actions = new Set([...this.#held].map((code) => KEYS[code]))
    const turn = Number(actions.has('right')) - Number(actions.has('left'))
    const thrust = Number(actions.has('ahead')) - Number(actions.has('brake'))
    const fire = actions.has('fire') || this.#firePointers.size > 0 ? 1 : 0
    const command = /** @type {Command} */ ({ turn, thrust, fire })
    const stick = this.#stick
    if (!stick) return command
    if (stick.reach < STICK_CENTRE) return { ...command, turn: 0, thrust: -1 }
    // Where the ship will point once it has heard of a change.
    const soon = this.#heading + this.command.turn * TURN_RATE * TURN_LAG_S
    const off = Math.atan2(Math.sin(stick.angle - soon), Math.cos(stick.angle - soon))
    const close = this.command.turn ? AIM_CLOSE : AIM_CLOSE * 1.8
    return { ...command, turn: Math.abs(off) < close ? 0 : off > 0 ? 1 : -1, thrust: Math.abs(off) < 1.9 ? 1 : 0 }
  }
}
