/** The numbers around the game, in HTML: they stay sharp, readable by screen readers, and cost nothing while they stand still. */

import { ENERGY_MAX, HULL_MAX } from './frontier.js'

/** @typedef {import('./things.js').Thing} Thing */

const RANKS_MAX = 6
const REFRESH_MS = 120
/** A ship that is out of sight stays in the list for so long. */
const REMEMBER_MS = 45_000

/** @param {string} id @returns {HTMLElement} */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id))

/** See the module. */
export class Hud {
  #elements = {
    hud: byId('hud'),
    callsign: byId('callsign'),
    points: byId('points'),
    ranks: byId('ranks'),
    hull: byId('hull'),
    energy: byId('energy'),
    place: byId('place'),
    hurt: byId('hurt'),
  }
  /** @type {Map<number, {id: number, name: string, hue: number, score: number, seen_ms: number}>} */ #known = new Map()
  /** @type {Map<HTMLElement, string>} */ #texts = new Map()
  #refreshed_ms = 0
  #points = 0

  /** @param {boolean} shown */
  show(shown) {
    this.#elements.hud.hidden = !shown
  }

  /** @param {string} name */
  setCallsign(name) {
    this.#text(this.#elements.callsign, name)
  }

  /**
   * @param {Thing | null} own
   * @param {readonly Thing[]} ranking
   * @param {{now_ms: number, energy: number, name: string}} more
   */
  update(own, ranking, { now_ms, energy, name }) {
    if (now_ms - this.#refreshed_ms < REFRESH_MS) return
    this.#refreshed_ms = now_ms
    for (const { id, name, hue, score } of ranking) this.#known.set(id, { id, name, hue, score, seen_ms: now_ms })
    for (const [id, known] of this.#known) if (now_ms - known.seen_ms > REMEMBER_MS) this.#known.delete(id)
    if (!own) return
    this.#countUp(own.score)
    this.#gauge(this.#elements.hull, own.alive ? own.hp : 0, HULL_MAX)
    this.#gauge(this.#elements.energy, energy, ENERGY_MAX)
    this.#elements.hull.classList.toggle('low', own.alive && own.hp <= HULL_MAX * 0.3)
    this.#text(this.#elements.place, `${Math.round(own.x)} · ${Math.round(own.y)}`)
    this.#ranks(own, name)
  }

  /** A red breath at the page's rim. @param {number} strength 0..1 */
  hurt(strength) {
    const { hurt } = this.#elements
    hurt.getAnimations().forEach((animation) => animation.cancel())
    hurt.animate([{ opacity: 0.25 + 0.6 * strength }, { opacity: 0 }], { duration: 520, easing: 'ease-out' })
  }

  /** Forgets who was seen: another world. */
  forget() {
    this.#known.clear()
  }

  /** @param {number} score */
  #countUp(score) {
    const missing = score - this.#points
    this.#points += Math.abs(missing) < 3 ? missing : Math.trunc(missing * 0.45)
    this.#text(this.#elements.points, this.#points.toLocaleString('en'))
  }

  /** @param {HTMLElement} element @param {number} value @param {number} most */
  #gauge(element, value, most) {
    if (!this.#text(/** @type {HTMLElement} */ (element.querySelector('.value')), String(value))) return
    element.setAttribute('aria-valuenow', String(value))
    for (const bar of element.querySelectorAll('.fill, .ghost')) {
      const style = /** @type {HTMLElement} */ (bar).style
      style.transform = `scaleX(${Math.max(0, Math.min(1, value / most))})`
    }
  }

  /** @param {Thing} own @param {string} name */
  #ranks(own, name) {
    const all = [...this.#known.values()].sort((a, b) => b.score - a.score || a.id - b.id)
    const place = all.findIndex((known) => known.id === own.id)
    const shown = all.slice(0, RANKS_MAX)
    if (place >= RANKS_MAX) shown[RANKS_MAX - 1] = all[place]
    const list = this.#elements.ranks
    while (list.children.length > shown.length) list.lastElementChild?.remove()
    while (list.children.length < shown.length) {
      const item = document.createElement('li')
      item.append(document.createElement('i'), document.createElement('span'), document.createElement('b'))
      list.append(item)
    }
    shown.forEach((known, i) => {
      const item = /** @type {HTMLLIElement} */ (list.children[i])
      const [mark, who, score] = /** @type {HTMLElement[]} */ ([...item.children])
      item.classList.toggle('own', known.id === own.id)
      this.#text(mark, String(all.indexOf(known) + 1))
      mark.style.color = known.id === own.id ? '' : `hsl(${known.hue} 80% 70%)`
      this.#text(who, known.id === own.id ? name : known.name)
      this.#text(score, known.score.toLocaleString('en'))
    })
  }

  /** @param {HTMLElement} element @param {string} text @returns {boolean} whether it was another */
  #text(element, text) {
    if (this.#texts.get(element) === text) return false
    this.#texts.set(element, text)
    element.textContent = text
    return true
  }
}
