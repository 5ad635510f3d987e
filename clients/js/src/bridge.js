/**
 * Entities on their way from one shard to another: gone from a cell of the one, not yet in a cell of the other. Shards tick each
 * by themselves, so between the two frames that tell of it lie a tick or two in which nobody has the entity. The bridge keeps it in
 * the picture for that long, going on by its velocity. Pure: its time is the ticks that frames complete.
 *
 * The price: what truly ends within a step of a border is shown for `BRIDGE_TICKS` longer.
 */

/** @typedef {import('./mirror.js').Entity} Entity */
/** @typedef {import('./mirror.js').TickSeen} TickSeen */
/** @typedef {import('./wire.js').Grid} Grid */

/** An entity that has not come up again after so many ticks of any one shard is gone. */
export const BRIDGE_TICKS = 4

/** Besides its velocity, an entity may be off by this part of a cell: it was turned or pushed in the tick that took it over. */
const SLACK_CELLS = 1 / 64

/** `ticks`: how many each shard completed since; `now`: the most of them. @typedef {{entity: Entity, ticks: Map<number, number>, now: number}} Crossing */

/** See the module. */
export class Bridge {
  /** @type {Map<number, Crossing>} */ #crossings = new Map()

  /** @returns {number} entities on the bridge */
  get size() {
    return this.#crossings.size
  }

  /** @param {number} id */
  has(id) {
    return this.#crossings.has(id)
  }

  /** @param {number} id @returns {Entity | null} as it must be by now, a fresh object */
  get(id) {
    const crossing = this.#crossings.get(id)
    return crossing ? ahead(crossing) : null
  }

  /** @returns {Entity[]} all, as they must be by now */
  all() {
    return [...this.#crossings.values()].map(ahead)
  }

  /** An entity leaves its cell, with its last values. @param {Entity} entity */
  keep(entity) {
    this.#crossings.set(entity.id, { entity, ticks: new Map(), now: 0 })
  }

  /** It has come up again, or does not matter any more. @param {number} id @returns {boolean} whether it was here */
  take(id) {
    return this.#crossings.delete(id)
  }

  /** Time goes on by the ticks of a frame. @param {readonly TickSeen[]} seen */
  advance(seen) {
    for (const crossing of this.#crossings.values()) {
      for (const { shard, ticks } of seen) {
        const total = (crossing.ticks.get(shard) ?? 0) + ticks
        crossing.ticks.set(shard, total)
        crossing.now = Math.max(crossing.now, total)
      }
    }
  }

  /** Lets go of those who waited too long. @returns {Entity[]} as they must be by now */
  expire() {
    const late = [...this.#crossings.values()].filter(({ now }) => now >= BRIDGE_TICKS)
    for (const { entity } of late) this.#crossings.delete(entity.id)
    return late.map(ahead)
  }

  clear() {
    this.#crossings.clear()
  }
}

/** @param {Crossing} crossing @returns {Entity} */
function ahead({ entity, now }) {
  const { x, y, vx, vy } = entity
  return vx === undefined ? { ...entity } : { ...entity, x: x + now * vx, y: y + now * vy }
}

/**
 * Whether an entity that left a cell of its shard may have gone to another shard: one of whose cells that we hold is near enough.
 *
 * @param {Entity} entity with its last values
 * @param {Grid} grid
 * @param {(cell: number) => number | undefined} heldShard the shard of a cell that we hold
 * @returns {boolean}
 */
export function mayCross(entity, grid, heldShard) {
  const { x, y, vx, vy, shard } = entity
  if (!vx && !vy) return false
  const reach = grid.cell_size * SLACK_CELLS + Math.max(Math.abs(vx), Math.abs(vy)) / 8
  const edge = (/** @type {number} */ v, /** @type {number} */ cells) => Math.min(cells - 1, Math.max(0, Math.floor(v / grid.cell_size)))
  for (const cy of new Set([edge(y - reach, grid.cells_y), edge(y + reach, grid.cells_y)])) {
    for (const cx of new Set([edge(x - reach, grid.cells_x), edge(x + reach, grid.cells_x)])) {
      const there = heldShard(cy * grid.cells_x + cx)
      if (there !== undefined && there !== shard) return true
    }
  }
  return false
}
