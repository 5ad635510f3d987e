/** One visit to the world, from the ticket to the last close: wires the client to what the page shows. */

import { connect } from '/js/index.js'
import { OWN_HUE } from './art.js'
import { callsignOf } from './callsigns.js'
import { DRONE, LANCE, LANCE_ENERGY, LANCE_MS, LANCE_REACH, NOSE, NOTHING, sameCommand, STEER } from './frontier.js'
import { endingOf } from './messages.js'
import { ANGLES, flightRule, PREDICTED } from './prediction.js'
import { Scene } from './scene.js'
import { Things } from './things.js'
import { fetchTicket } from './ticket.js'

/** @typedef {import('./frontier.js').Command} Command */
/** @typedef {import('./things.js').Thing} Thing */
/** `borders`: lines between shards. @typedef {{width: number, height: number, cell: number, borders: readonly number[][], view: number}} World */

/**
 * The page's parts that outlive a visit. `borders`: whether lines between shards are to be seen.
 * @typedef {{
 *   stage: import('./scene.js').Stage, hud: import('./hud.js').Hud, radar: import('./radar.js').Radar,
 *   messages: import('./messages.js').Messages, calm: () => boolean, borders: () => boolean
 * }} Page
 */

const VEIL_MS = 420
const GOLD = 'hsl(46 100% 70%)'

/** See the module. */
export class Game {
  /** @type {World | null} */ world = null
  #page
  #name
  /** @type {Readonly<Command>} */ #command = NOTHING
  /** @type {Readonly<Command>} */ #told = NOTHING
  #veil_ms = -Infinity
  #session = ''
  #contract = ''
  #lanced_ms = -Infinity
  #retry_ms = 0
  #scene = new Scene()

  /**
   * @param {Page} page
   * @param {import('./ticket.js').Ticket} ticket
   * @param {string} name
   * @param {(text: string) => void} ended
   */
  constructor(page, ticket, name, ended) {
    this.#page = page
    this.#name = name
    /** @type {import('./ticket.js').Ticket | null} */
    let first = ticket
    this.client = connect({
      title: ticket.title,
      client: 'frontier-web',
      ticket: async () => {
        const next = first ?? (await fetchTicket())
        first = null
        return next
      },
    })
    const { effects } = page.stage
    this.things = new Things(this.client, (at_ms, run) => effects.later(at_ms, run), this.#happenings())
    this.client.on('welcome', (welcome) => this.#welcome(welcome))
    this.client.on('notice', (notice) => page.messages.notice(notice))
    this.client.on('state', (state, decision) => this.#state(state, decision, ended))
    this.client.mirror.on('own', () => page.hud.setCallsign(this.name))
  }

  /** The name by which the player knows their ship. */
  get name() {
    const { entity } = this.client.mirror.own
    return this.#name || (entity ? callsignOf(entity) : '')
  }

  /** Holds a command until the next one. @param {Readonly<Command>} command */
  steer(command) {
    this.#command = command
    if (sameCommand(command, this.#told) || !this.client.session.welcome) return
    if (this.client.send(STEER, command)) this.#told = command
  }

  /** Lets the lance loose, if it is ready: seen at once, judged by what is seen now. @param {number} now_ms */
  lance(now_ms) {
    const { own } = this.things
    const { steering, mirror } = this.client
    if (!own?.alive || !steering || now_ms - this.#lanced_ms < LANCE_MS || (mirror.ownValues.energy ?? 0) < LANCE_ENERGY) return
    const seen = this.client.sight(now_ms)
    if (!seen) return
    const told = { seen_part: seen.part, seen_span: seen.span, own_part: steering.moment(now_ms) % 256 }
    if (!this.client.send(LANCE, told, { seen: seen.tick, aimed: true })) return
    this.#lanced_ms = now_ms
    this.#beam(own, own.angle, OWN_HUE)
  }

  /** @param {Thing} thing @param {number} angle @param {number} hue */
  #beam({ x, y }, angle, hue) {
    const [dx, dy] = [Math.cos(angle), Math.sin(angle)]
    this.#page.stage.effects.beam(x + dx * NOSE, y + dy * NOSE, x + dx * LANCE_REACH, y + dy * LANCE_REACH, hue, performance.now())
  }

  /** One frame of the page. @param {number} now_ms @param {number} elapsed_ms */
  frame(now_ms, elapsed_ms) {
    const { stage, hud, radar, calm, borders } = this.#page
    const { things } = this
    things.place(now_ms)
    stage.effects.calm = calm()
    stage.effects.advance(elapsed_ms, now_ms)
    const { own } = things
    if (own?.shown) stage.camera.follow(own, elapsed_ms, calm())
    if (own) own.hue = OWN_HUE
    const thrusting = this.#command.thrust > 0 && this.client.state === 'playing'
    this.#scene.draw(stage, things, this.world, { now_ms, thrusting, calm: calm(), labels: true, borders: borders() })
    this.#drawVeil(now_ms)
    if (this.client.state === 'lost') this.#sayLost()
    hud.update(own, things.ranking(), { now_ms, energy: this.client.mirror.ownValues.energy ?? 0, name: this.name })
    if (this.world) radar.draw(things, stage.camera, this.world, now_ms)
  }

  /** Leaves for good. */
  leave() {
    this.client.bye()
  }

  // ------------------------------------------------------------ the connection

  /** @param {import('/js/wire.js').Welcome} welcome */
  #welcome(welcome) {
    const { grid, kinds } = welcome
    const units = kinds.find((kind) => kind.moves)?.columns[0].units_per_one || 1
    const cell = grid.cell_size / units
    const [width, height] = [cell * grid.cells_x, cell * grid.cells_y]
    /** @type {number[][]} */
    const borders = []
    for (let i = 1; i < grid.shards_x; i++) borders.push([(width * i) / grid.shards_x, 0, (width * i) / grid.shards_x, height])
    for (let i = 1; i < grid.shards_y; i++) borders.push([0, (height * i) / grid.shards_y, width, (height * i) / grid.shards_y])
    this.world = { width, height, cell, borders, view: grid.view / units }
    if (welcome.contract !== this.#contract) {
      const space = { one: units, hz: Math.round(1e6 / welcome.tick_interval_us), width: width * units, height: height * units }
      this.client.predict({ rule: flightRule(space), columns: PREDICTED, angles: ANGLES })
    }
    this.#contract = welcome.contract
    // A new session's ship holds no command yet.
    if (welcome.session !== this.#session) this.#told = NOTHING
    this.#session = welcome.session
    this.steer(this.#command)
  }

  /**
   * @param {import('/js/session.js').SessionState} state
   * @param {import('/js/session.js').CloseDecision | null} decision
   * @param {(text: string) => void} ended
   */
  #state(state, decision, ended) {
    const { messages } = this.#page
    if (state === 'playing') {
      messages.say('connection', '')
    } else if (state === 'over') {
      messages.say('connection', '')
      messages.say('world', '')
      ended(decision && decision.code !== 1000 ? endingOf(decision.code, decision.reason) : '')
    } else if (state === 'lost' && decision) {
      this.#retry_ms = performance.now() + decision.after_ms
      this.#sayLost()
    } else if (!this.client.session.welcome) {
      messages.say('connection', 'Connecting…')
    }
  }

  #sayLost() {
    const wait_s = Math.ceil((this.#retry_ms - performance.now()) / 1000)
    const when = wait_s > 1 ? `Trying again in ${wait_s} s…` : 'Trying again…'
    this.#page.messages.say('connection', `Connection lost. ${when} Your ship waits for you.`, 'bad')
  }

  // ------------------------------------------------------------ what happens

  /** @returns {import('./things.js').Happenings} */
  #happenings() {
    const { effects, camera } = this.#page.stage
    const { hud, messages } = this.#page
    const now = () => performance.now()
    return {
      hurt: (thing, damage, own) => {
        effects.burst(thing.x, thing.y, 40, { count: 8 + damage / 3, speed: 22, life_ms: 320, vx: thing.vx, vy: thing.vy })
        if (!own) return
        hud.hurt(Math.min(1, damage / 30))
        camera.shake(0.5 + damage / 60)
      },
      died: (thing, own) => {
        effects.explode(thing.x, thing.y, thing.hue, now(), thing.kind === DRONE ? 0.7 : 1.15, thing.vx, thing.vy)
        if (!own) return
        hud.hurt(1)
        camera.shake(1)
        messages.say('moment', 'Your ship was lost. A new one is on its way.', 'bad', 2600)
      },
      returned: (thing, own) => {
        effects.ring({ x: thing.x, y: thing.y, born_ms: now(), life_ms: 700, from: 9, to: 2, hue: thing.hue })
        if (own) messages.say('moment', 'Shielded until you fire.', 'calm', 1800)
      },
      lanced: (thing, angle, own) => {
        if (!own) this.#beam(thing, angle, thing.hue)
      },
      scored: (thing, points) => effects.word(thing.x, thing.y, `+${points}`, GOLD, now()),
      taken: (thing) => {
        effects.burst(thing.x, thing.y, thing.hue, { count: 16, speed: 15, life_ms: 520, size: 0.9 })
        effects.ring({ x: thing.x, y: thing.y, born_ms: now(), life_ms: 380, from: 0.6, to: 4, hue: thing.hue })
      },
      hit: (thing) => effects.burst(thing.x, thing.y, thing.hue, { count: 7, speed: 16, life_ms: 240, size: 0.8 }),
      left: (thing) => effects.ring({ x: thing.x, y: thing.y, born_ms: now(), life_ms: 600, from: 3, to: 0.4, hue: thing.hue }),
      leapt: () => {
        if (now() - this.#veil_ms > VEIL_MS) this.#veil_ms = now()
      },
    }
  }

  /** The page was elsewhere a moment ago: it comes out of the dark. @param {number} now_ms */
  #drawVeil(now_ms) {
    const left = 1 - (now_ms - this.#veil_ms) / VEIL_MS
    if (left <= 0) return
    const { context, camera } = this.#page.stage
    context.globalAlpha = Math.min(1, left)
    context.fillStyle = '#04060c'
    context.fillRect(0, 0, camera.width, camera.height)
    context.globalAlpha = 1
  }
}
