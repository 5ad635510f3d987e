/**
 * What is in view, as the page shows it: each entity with its place on this frame of the page, and the events worth showing. It
 * follows the client's mirror; where others are drawn a little in the past, what happens to them is shown as much later.
 */

import { callsignOf, hueOf } from './callsigns.js'
import { DRONE_HUE, OWN_HUE } from './art.js'
import { BOLT, CRYSTAL, DEAD, DRONE, NOSE, RADIANS, SHIP } from './frontier.js'

/** @typedef {import('/js/index.js').Client} Client */

const HOSTILE_HUE = 16
const STRAY_HUE = 40
/** How near a new shot must have started to be taken for somebody's. */
const SHOOTER_REACH = 5
const FADE_MS = 260
/** A leap that no ship flies. */
const LEAP = 24

/**
 * Lengths in the title's measure, velocities per second, angles in radians. `tick_x`, `tick_y`: at the newest tick. `leaves_ms`: when it is
 * no longer shown (Infinity while it is in view).
 * @typedef {{
 *   id: number, kind: string, hue: number, born_ms: number, leaves_ms: number, x: number, y: number, vx: number, vy: number,
 *   angle: number, tick_x: number, tick_y: number, hp: number, flags: number, score: number, value: number, alive: boolean,
 *   flash_ms: number, name: string, shown: boolean, lanced: number
 * }} Thing
 */

/**
 * What the rest of the page wants to hear.
 * @typedef {{
 *   hurt: (thing: Thing, damage: number, own: boolean) => void, died: (thing: Thing, own: boolean) => void,
 *   returned: (thing: Thing, own: boolean) => void, lanced: (thing: Thing, angle: number, own: boolean) => void,
 *   scored: (thing: Thing, points: number) => void,
 *   taken: (thing: Thing) => void, hit: (thing: Thing) => void, left: (thing: Thing) => void, leapt: () => void
 * }} Happenings
 */

/** See the module. */
export class Things {
  /** @type {Map<number, Thing>} */ all = new Map()
  /** The own ship, also while it is dead. @type {Thing | null} */ own = null
  /** Position units in one of the title's measure. */
  units = 256
  #client
  #later
  #happens
  #place = /** @type {any} */ ({ x: 0, y: 0, vx: 0, vy: 0, heading: 0 })

  /**
   * @param {Client} client
   * @param {(at_ms: number, run: () => void) => void} later
   * @param {Happenings} happens
   */
  constructor(client, later, happens) {
    this.#client = client
    this.#later = later
    this.#happens = happens
    client.on('welcome', () => (this.units = client.mirror.kinds.find((kind) => kind.moves)?.units[0] ?? 256))
    client.mirror.on('add', (entity) => this.#add(entity))
    client.mirror.on('remove', (entity, reason) => this.#remove(entity, reason))
    client.on('frame', () => this.#read())
  }

  /** Places everything for a frame of the page. @param {number} now_ms */
  place(now_ms) {
    const ownId = this.#client.mirror.own.entity
    const perSecond = 1000 / (this.#interval_ms() * this.units)
    for (const thing of this.all.values()) {
      if (now_ms > thing.leaves_ms + FADE_MS) {
        this.all.delete(thing.id)
        if (this.own === thing) this.own = null
        continue
      }
      const place = this.#place
      thing.shown = this.#locate(thing, thing.id === ownId, now_ms, place)
      if (!thing.shown) continue
      const [x, y] = [place.x / this.units, place.y / this.units]
      if (thing.id === ownId && Math.hypot(x - thing.x, y - thing.y) > LEAP) this.#happens.leapt()
      thing.x = x
      thing.y = y
      thing.vx = place.vx * perSecond
      thing.vy = place.vy * perSecond
      thing.angle = thing.kind === BOLT ? Math.atan2(place.vy, place.vx) : place.heading * RADIANS
    }
    this.own = this.all.get(ownId) ?? this.own
  }

  /**
   * The own ship stands where the player's hands have brought it, shots where they are now, all else a little in the past.
   *
   * @param {Thing} thing
   * @param {boolean} own
   * @param {number} now_ms
   * @param {any} place
   * @returns {boolean} whether it is to be seen
   */
  #locate(thing, own, now_ms, place) {
    const { interpolator, steering, mirror } = this.#client
    const shown = own && mirror.has(thing.id) ? steering?.shown(now_ms) : null
    if (shown) return Boolean(Object.assign(place, shown))
    return own || thing.kind === BOLT ? interpolator.predicted(thing.id, now_ms, place) : interpolator.interpolated(thing.id, now_ms, place)
  }

  /** @param {Thing} thing @param {number} now_ms @returns {number} 0..1: things come and go softly */
  opacity(thing, now_ms) {
    const coming = Math.min(1, (now_ms - thing.born_ms) / FADE_MS)
    const going = now_ms < thing.leaves_ms ? 1 : 1 - (now_ms - thing.leaves_ms) / FADE_MS
    return Math.max(0, Math.min(coming, going))
  }

  /** Ships seen now, the highest score first. @returns {Thing[]} */
  ranking() {
    return [...this.all.values()].filter((t) => t.kind === SHIP && t.leaves_ms === Infinity).sort((a, b) => b.score - a.score || a.id - b.id)
  }

  // ------------------------------------------------------------ following the mirror

  /** @param {import('/js/mirror.js').Entity} entity */
  #add(entity) {
    const [x, y] = [entity.x / this.units, entity.y / this.units]
    const now_ms = performance.now()
    this.all.set(entity.id, {
      id: entity.id,
      kind: entity.kind,
      hue: this.#hue(entity),
      born_ms: entity.kind === BOLT ? -Infinity : now_ms,
      leaves_ms: Infinity,
      x,
      y,
      vx: 0,
      vy: 0,
      angle: 0,
      tick_x: x,
      tick_y: y,
      hp: entity.hp ?? 0,
      flags: entity.flags ?? 0,
      score: entity.score ?? 0,
      value: entity.value ?? 0,
      alive: !((entity.flags ?? 0) & DEAD),
      flash_ms: -Infinity,
      name: entity.kind === SHIP ? callsignOf(entity.id) : '',
      shown: false,
      lanced: entity.lanced ?? 0,
    })
  }

  /** @param {import('/js/mirror.js').Entity} entity @param {import('/js/mirror.js').RemoveReason} reason */
  #remove(entity, reason) {
    const thing = this.all.get(entity.id)
    if (!thing) return
    const now_ms = performance.now()
    const own = thing.id === this.#client.mirror.own.entity
    const delay_ms = this.#delay(thing)
    thing.leaves_ms = now_ms + delay_ms
    if (reason === 'unseen') return
    if (thing.kind === BOLT) {
      this.all.delete(thing.id)
      if (this.#nearest(thing.tick_x, thing.tick_y, 5, [SHIP, DRONE])) this.#happens.hit(thing)
    } else if (thing.kind === CRYSTAL) {
      this.all.delete(thing.id)
      this.#happens.taken(thing)
    } else {
      this.#later(thing.leaves_ms, () => {
        if (thing.kind === DRONE) {
          this.all.delete(thing.id)
          this.#happens.died(thing, false)
        } else if (!own && thing.alive) {
          this.#happens.left(thing)
        }
      })
    }
  }

  /** Reads what changed since the last frame of the server. */
  #read() {
    const { mirror } = this.#client
    for (const kind of mirror.kinds) {
      const { count, ids, columns } = mirror.table(kind.name)
      for (let i = 0; i < count; i++) {
        const thing = this.all.get(ids[i])
        if (!thing) continue
        thing.leaves_ms = Infinity
        if (kind.moves) {
          thing.tick_x = columns.x[i] / this.units
          thing.tick_y = columns.y[i] / this.units
        }
        if (columns.score) this.#readScore(thing, columns.score[i])
        if (columns.hp) this.#readHull(thing, columns.hp[i])
        if (columns.flags) this.#readFlags(thing, columns.flags[i])
        if (columns.lanced && columns.lanced[i] !== thing.lanced) this.#readLance(thing, columns.lanced[i], columns.lance_angle[i] * RADIANS)
      }
    }
  }

  /** @param {Thing} thing @param {number} score */
  #readScore(thing, score) {
    const gained = score - thing.score
    thing.score = score
    if (gained > 0 && thing.id === this.#client.mirror.own.entity) this.#happens.scored(thing, gained)
  }

  /** @param {Thing} thing @param {number} hp */
  #readHull(thing, hp) {
    const damage = thing.hp - hp
    thing.hp = hp
    if (damage <= 0) return
    const own = thing.id === this.#client.mirror.own.entity
    this.#soon(thing, () => {
      thing.flash_ms = performance.now()
      this.#happens.hurt(thing, damage, own)
    })
  }

  /** @param {Thing} thing @param {number} flags */
  #readFlags(thing, flags) {
    const before = thing.flags
    thing.flags = flags
    if (((before ^ flags) & DEAD) === 0) return
    const own = thing.id === this.#client.mirror.own.entity
    this.#soon(thing, () => {
      thing.alive = !(flags & DEAD)
      if (thing.alive) this.#happens.returned(thing, own)
      else this.#happens.died(thing, own)
    })
  }

  /** @param {Thing} thing @param {number} count @param {number} angle */
  #readLance(thing, count, angle) {
    thing.lanced = count
    this.#soon(thing, () => this.#happens.lanced(thing, angle, thing.id === this.#client.mirror.own.entity))
  }

  /** When a thing's place has caught up with what just happened to it. @param {Thing} thing @param {() => void} run */
  #soon(thing, run) {
    const delay_ms = this.#delay(thing)
    if (delay_ms) this.#later(performance.now() + delay_ms, run)
    else run()
  }

  /** @param {Thing} thing */
  #delay(thing) {
    const ahead = thing.kind === BOLT || thing.id === this.#client.mirror.own.entity
    return ahead ? 0 : this.#client.interpolator.delay_ms
  }

  #interval_ms() {
    return (this.#client.session.welcome?.tick_interval_us ?? 50_000) / 1000
  }

  /** @param {import('/js/mirror.js').Entity} entity */
  #hue(entity) {
    if (entity.kind === SHIP) return entity.id === this.#client.mirror.own.entity ? OWN_HUE : hueOf(entity.id)
    if (entity.kind === DRONE) return DRONE_HUE
    if (entity.kind === CRYSTAL) return entity.value >= 25 ? 44 : entity.value >= 10 ? 268 : 162
    // A shot says not whose it is, but it starts at somebody's nose.
    const speed = Math.hypot(entity.vx, entity.vy) || 1
    const back = 1 + (NOSE * this.units) / speed
    const shooter = this.#nearest((entity.x - entity.vx * back) / this.units, (entity.y - entity.vy * back) / this.units, SHOOTER_REACH, [SHIP, DRONE])
    if (!shooter) return STRAY_HUE
    if (shooter.id === this.#client.mirror.own.entity) return OWN_HUE
    return shooter.kind === DRONE ? HOSTILE_HUE : shooter.hue
  }

  /** @param {number} x @param {number} y @param {number} reach @param {readonly string[]} kinds */
  #nearest(x, y, reach, kinds) {
    let best = null
    let least = reach
    for (const thing of this.all.values()) {
      if (!kinds.includes(thing.kind) || !thing.alive) continue
      const distance = Math.hypot(thing.tick_x - x, thing.tick_y - y)
      if (distance < least) [best, least] = [thing, distance]
    }
    return best
  }
}
