/**
 * A small model of a server: entities in a grid, told to one watcher exactly as proto/README.md says. It keeps what the watcher
 * believes in the simplest way there is (one plain object an entity) and makes plain frames.
 */

export const GRID = { cells_x: 6, cells_y: 4, cell_size: 256, shards_x: 2, shards_y: 2, view: 256 }

export const KINDS = [
  {
    name: 'Ship',
    moves: true,
    columns: ['x', 'y', 'vx', 'vy', 'heading', 'hp'].map((name) => ({ name, modulo: name === 'heading' ? 256 : 0, units_per_one: 1 })),
    owner_columns: [{ name: 'ammo', modulo: 0, units_per_one: 1 }],
  },
  {
    name: 'Rock',
    moves: false,
    columns: ['size', 'angle'].map((name) => ({ name, modulo: name === 'angle' ? 8 : 0, units_per_one: 1 })),
    owner_columns: [],
  },
]

export const WELCOME = {
  protocol: 1,
  world: 'w1',
  title: 'model',
  title_version: 1,
  contract: 'abc',
  session: 42,
  resume: new Uint8Array([1, 2, 3]),
  grid: GRID,
  tick_interval_us: 50_000,
  kinds: KINDS,
  inputs: [{ name: 'Steer', fields: [{ name: 'turn', min: -1, max: 1 }, { name: 'thrust', min: 0, max: 1 }] }], // prettier-ignore
  commit_level: 1,
  limits: { message_bytes_max: 1024, messages_per_second_max: 60, idle_seconds_max: 20 },
  last_seq: 0,
}

/**
 * `values` in the order of the kind's columns; `told` is what the watcher of its cell believes, null where it was never told.
 * @typedef {{id: number, kind: number, cell: number, values: number[], told: number[] | null}} Thing
 */

/** @param {number} cell */
export function shardOf(cell) {
  const [cx, cy] = [cell % GRID.cells_x, Math.floor(cell / GRID.cells_x)]
  return Math.floor(cy / (GRID.cells_y / GRID.shards_y)) * GRID.shards_x + Math.floor(cx / (GRID.cells_x / GRID.shards_x))
}

/** @param {number} x @param {number} y */
export function cellAt(x, y) {
  const cx = Math.min(GRID.cells_x - 1, Math.max(0, Math.floor(x / GRID.cell_size)))
  const cy = Math.min(GRID.cells_y - 1, Math.max(0, Math.floor(y / GRID.cell_size)))
  return cy * GRID.cells_x + cx
}

/** @param {number[]} indices ascending */
const gaps = (indices) => indices.map((v, i) => (i ? v - indices[i - 1] - 1 : v))
/** @param {number[]} ids ascending */
const differences = (ids) => ids.map((v, i) => (i ? v - ids[i - 1] : v))

export class World {
  /** @type {Map<number, Thing>} */ things = new Map()
  /** @type {number[]} */ ticks = [0, 0, 0, 0]
  epoch = 1
  nextId = 1
  /** Rows of each cell and kind as the watchers know them: ids, ascending. @type {Map<string, number[]>} */ rows = new Map()

  /** @param {import('./random.js').Random} random */
  constructor(random) {
    this.random = random
    for (let i = 0; i < 40; i++) this.spawn()
  }

  /** @param {number} [kind] */
  spawn(kind = this.random.chance(0.7) ? 0 : 1) {
    const { random } = this
    const id = this.nextId
    this.nextId += random.int(1, 300)
    const [x, y] = [random.int(0, GRID.cells_x * GRID.cell_size), random.int(0, GRID.cells_y * GRID.cell_size)]
    const values = kind === 0 ? [x, y, random.int(-60, 61), random.int(-60, 61), random.int(0, 256), 100] : [random.int(0, 9), random.int(0, 8)]
    this.things.set(id, { id, kind, cell: cellAt(x, y), values, told: null })
  }

  /** One tick of a shard: its things move, turn, change, cross, come and go. @param {number} shard */
  step(shard) {
    const { random } = this
    this.ticks[shard]++
    for (const thing of [...this.things.values()]) {
      if (shardOf(thing.cell) !== shard) continue
      if (random.chance(0.02)) this.things.delete(thing.id)
      else if (thing.kind === 0) this.#stepShip(thing)
      else if (random.chance(0.1)) thing.values = [random.int(-99, 99), random.int(0, 8)]
    }
    if (random.chance(0.4)) this.spawn()
  }

  /** @param {Thing} thing */
  #stepShip(thing) {
    const { random } = this
    const v = thing.values
    if (random.chance(0.2)) v[2] = random.int(-60, 61)
    if (random.chance(0.2)) v[3] = random.int(-60, 61)
    v[0] += v[2]
    v[1] += v[3]
    if (random.chance(0.05)) v[0] += random.int(-300, 300)
    if (random.chance(0.2)) v[4] = (v[4] + random.int(0, 256)) % 256
    if (random.chance(0.1)) v[5] = random.int(-(2 ** 31), 2 ** 31)
    v[0] = Math.min(GRID.cells_x * GRID.cell_size - 1, Math.max(0, v[0]))
    v[1] = Math.min(GRID.cells_y * GRID.cell_size - 1, Math.max(0, v[1]))
    // In another shard's cell it is told of by that shard, from its next tick on.
    thing.cell = cellAt(v[0], v[1])
  }

  /** @param {number} shard @returns {any} the head of its tick now */
  head(shard) {
    return { shard, epoch: this.epoch, tick: this.ticks[shard] }
  }

  /** What changed in all cells of a shard since they were told last. @param {number} shard @returns {any[]} Cells */
  updates(shard) {
    /** @type {any[]} */
    const pieces = []
    for (let cell = 0; cell < GRID.cells_x * GRID.cells_y; cell++) {
      if (shardOf(cell) !== shard) continue
      for (let kind = 0; kind < KINDS.length; kind++) {
        const piece = this.#update(cell, kind)
        if (piece) pieces.push(piece)
      }
    }
    for (const thing of this.things.values()) if (shardOf(thing.cell) === shard) thing.told = [...thing.values]
    return pieces
  }

  /** @param {number} cell @param {number} kind */
  #update(cell, kind) {
    const key = `${cell}/${kind}`
    const before = this.rows.get(key) ?? []
    const here = [...this.things.values()].filter((t) => t.cell === cell && t.kind === kind).sort((a, b) => a.id - b.id)
    const now = here.map((t) => t.id)
    this.rows.set(key, now)
    const removed = before.flatMap((id, i) => (now.includes(id) ? [] : [i]))
    const added = here.filter((t) => !before.includes(t.id))
    /** @type {number[]} */
    const changed = []
    let last = -1
    here.forEach((thing, i) => {
      if (!before.includes(thing.id)) return
      const record = this.#record(thing)
      if (!record) return
      changed.push(i - last - 1, ...record)
      last = i
    })
    if (!removed.length && !added.length && !changed.length) return null
    return { cell, kind, removed: gaps(removed), ...this.#added(cell, kind, added, (t) => t.values), changed }
  }

  /** @param {Thing} thing @returns {number[] | null} mask and differences */
  #record(thing) {
    const told = /** @type {number[]} */ (thing.told)
    const moves = KINDS[thing.kind].moves
    const first = moves ? 4 : 0
    let mask = 0
    /** @type {number[]} */
    const out = []
    if (moves) {
      const believed = [told[0] + told[2], told[1] + told[3]]
      const [dvx, dvy] = [thing.values[2] - told[2], thing.values[3] - told[3]]
      const [dx, dy] = [thing.values[0] - believed[0] - dvx, thing.values[1] - believed[1] - dvy]
      if (dvx || dvy) out.push(dvx, dvy), (mask |= 1)
      if (dx || dy) out.push(dx, dy), (mask |= 2)
    }
    for (let c = first; c < thing.values.length; c++) {
      let difference = (thing.values[c] - told[c]) | 0
      const modulo = KINDS[thing.kind].columns[c].modulo
      if (modulo) difference = ((difference + modulo * 1.5) % modulo) - modulo / 2
      if (!difference) continue
      out.push(difference)
      mask |= 1 << (moves ? c - 2 : c)
    }
    return mask ? [mask, ...out] : null
  }

  /** @param {number} cell @param {number} kind @param {Thing[]} things @param {(t: Thing) => number[]} of */
  #added(cell, kind, things, of) {
    const [x0, y0] = [(cell % GRID.cells_x) * GRID.cell_size, Math.floor(cell / GRID.cells_x) * GRID.cell_size]
    const columns = KINDS[kind].columns.flatMap((_, c) =>
      things.map((t) => of(t)[c] - (KINDS[kind].moves && c === 0 ? x0 : KINDS[kind].moves && c === 1 ? y0 : 0)),
    )
    return { added: differences(things.map((t) => t.id)), columns }
  }

  /** @param {number[]} cells @returns {any[]} Cells as whole, as told last */
  keyframes(cells) {
    return cells.flatMap((cell) =>
      KINDS.flatMap((_, kind) => {
        const here = [...this.things.values()]
          .filter((t) => t.cell === cell && t.kind === kind && t.told)
          .sort((a, b) => a.id - b.id)
        const piece = this.#added(cell, kind, here, (t) => /** @type {number[]} */ (t.told))
        return here.length ? [{ cell, kind, ...piece }] : []
      }),
    )
  }

  /** @param {Iterable<number>} cells @returns {any[]} what a watcher of these cells should see, sorted by id */
  picture(cells) {
    const held = new Set(cells)
    return [...this.things.values()]
      .filter((t) => held.has(t.cell) && t.told)
      .sort((a, b) => a.id - b.id)
      .map((t) => ({
        id: t.id,
        kind: KINDS[t.kind].name,
        cell: t.cell,
        shard: shardOf(t.cell),
        ...Object.fromEntries(KINDS[t.kind].columns.map((c, i) => [c.name, t.values[i]])),
      }))
  }
}
