/**
 * The client's picture of what its player can see, kept exactly as proto/README.md says. Pure: it takes decoded frames and
 * tells what changed; it knows no socket and no clock.
 *
 * Entities are known by their id. An entity that crosses into another cell, or whose cell is sent anew, stays the same
 * entity: it is neither removed nor added for the listeners. So does one that goes to another shard, though for a moment it may be in no
 * cell (see `bridge.js`), or in two: then it is where it was added last.
 */

import { Bridge, mayCross } from './bridge.js'
import { Emitter } from './events.js'
import { allocateColumns, layoutOf, MirrorError, Rows } from './rows.js'

export { MirrorError }

/** @typedef {import('./wire.js').Frame} Frame */
/** @typedef {import('./wire.js').Welcome} Welcome */
/** @typedef {import('./wire.js').Grid} Grid */
/** @typedef {import('./rows.js').KindLayout} KindLayout */

/**
 * One entity as it is now: the values of its columns by name, beside `id`, `kind` (name), `cell` and `shard`.
 * @typedef {{id: number, kind: string, cell: number, shard: number} & Record<string, any>} Entity
 */

/**
 * `gone`: it ceased to exist where we could see it. `unseen`: we no longer see it; it may well go on.
 * @typedef {'gone' | 'unseen'} RemoveReason
 */

/**
 * All rows of a kind as plain arrays, valid until the next frame; entries from `count` on are left over.
 * @typedef {{count: number, ids: Float64Array, columns: Record<string, Float64Array | Int32Array>}} KindTable
 */

/**
 * A tick of a shard that this frame completed. `ticks` is how many the shard went on since the one seen before.
 * @typedef {{shard: number, epoch: number, tick: number, tick_interval_us: number, ticks: number}} TickSeen
 */

/** @typedef {{entity: number, kind: number, values: number[]}} Own */

/**
 * @typedef {{cell: number, shard: number, x0: number, y0: number, kinds: Rows[]}} HeldCell
 * @typedef {{epoch: number, tick: number, tick_interval_us: number}} ShardMark
 * @typedef {{cell: number, kind: number}} Place
 */

/** An entity kept from before a resume is given up after this many frames with ticks in them. */
const CARRIED_FRAMES_MAX = 40

/**
 * Events: `add(entity)`, `change(id, kind, mask)` (the change groups' bits, -1 where it was sent whole), `remove(entity,
 * reason)` with its last values, `own(own)` when the player's avatar or its private values change.
 *
 * @extends {Emitter<{add: [Entity], change: [number, string, number], remove: [Entity, RemoveReason], own: [Own]}>}
 */
export class Mirror extends Emitter {
  /** @type {KindLayout[]} */ kinds = []
  /** @type {Grid | null} */ grid = null
  /** @type {Own} */ own = { entity: 0, kind: 0, values: [] }
  /** Frames whose tick had been seen before. */
  framesDropped = 0
  /** Grows with every frame applied. */
  version = 0

  /** @type {Map<number, HeldCell>} */ #cells = new Map()
  /** @type {Map<number, ShardMark>} */ #marks = new Map()
  /** @type {Map<number, Place>} */ #where = new Map()
  /** Of entities in more than one cell, the older ones, newest last. @type {Map<number, Place[]>} */ #older = new Map()
  #bridge = new Bridge()
  /** Entities seen before a resume and not yet again, with their last values. @type {Map<number, Entity>} */ #carried = new Map()
  #carriedFrames = 0
  #contract = ''
  #session = ''
  #tickIntervalUs = 50_000
  /** @type {Map<string, KindTable & {version: number}>} */ #tables = new Map()

  /** Shards whose head, and cells whose entry, the frame being applied holds. @type {Set<number>} */ #fresh = new Set()
  /** @type {Set<number>} */ #entered = new Set()
  /** What the frame being applied did, by id. @type {Set<number>} */ #came = new Set()
  /** @type {Map<number, Entity>} */ #went = new Map()
  /** @type {Map<number, number>} */ #masks = new Map()

  // ------------------------------------------------------------ reading

  /** @returns {number} entities in the picture */
  get size() {
    return this.#where.size + this.#bridge.size
  }

  /** @returns {number} cells in view */
  get cellsHeld() {
    return this.#cells.size
  }

  /** @returns {ReadonlyMap<number, ShardMark>} the newest tick seen of each shard */
  get shards() {
    return this.#marks
  }

  /** @param {number} id */
  has(id) {
    return this.#where.has(id) || this.#bridge.has(id)
  }

  /** @param {number} id @returns {boolean} whether it stands in a cell, and is not between two shards */
  stands(id) {
    return this.#where.has(id)
  }

  /** @param {number} id @returns {Entity | null} its values now, a fresh object */
  get(id) {
    const place = this.#where.get(id)
    if (!place) return this.#bridge.get(id)
    const held = /** @type {HeldCell} */ (this.#cells.get(place.cell))
    const rows = held.kinds[place.kind]
    return this.#entity(held, rows, rows.find(id))
  }

  /** The player's own avatar. @returns {Entity | null} */
  get avatar() {
    return this.own.entity ? this.get(this.own.entity) : null
  }

  /** The owner's private values by name. @returns {Record<string, number>} */
  get ownValues() {
    const names = this.kinds[this.own.kind]?.ownerNames ?? []
    return Object.fromEntries(names.map((name, i) => [name, this.own.values[i] ?? 0]))
  }

  /** @param {number} cell @returns {number} */
  shardOf(cell) {
    const grid = /** @type {Grid} */ (this.grid)
    const wide = grid.cells_x / grid.shards_x
    const high = grid.cells_y / grid.shards_y
    return Math.floor(Math.floor(cell / grid.cells_x) / high) * grid.shards_x + Math.floor((cell % grid.cells_x) / wide)
  }

  /**
   * All entities of a kind, gathered into plain arrays (at most once a frame; the arrays are used again).
   *
   * @param {string} kind
   * @returns {KindTable}
   */
  table(kind) {
    const layout = this.kinds.find((k) => k.name === kind)
    if (!layout) return { count: 0, ids: new Float64Array(0), columns: {} }
    let table = this.#tables.get(kind)
    if (table?.version === this.version) return table
    let total = this.#bridge.size
    for (const held of this.#cells.values()) total += held.kinds[layout.index].count
    if (!table || table.ids.length < total) {
      const columns = allocateColumns(layout, total + 32)
      table = {
        version: -1,
        count: 0,
        ids: new Float64Array(total + 32),
        columns: Object.fromEntries(layout.names.map((name, i) => [name, columns[i]])),
      }
      this.#tables.set(kind, table)
    }
    table.count = 0
    for (const held of this.#cells.values()) this.#gather(held, held.kinds[layout.index], table)
    for (const entity of this.#bridge.all()) {
      if (entity.kind !== kind) continue
      table.ids[table.count] = entity.id
      for (const name of layout.names) table.columns[name][table.count] = entity[name]
      table.count++
    }
    table.version = this.version
    return table
  }

  /**
   * Calls back for every row of the held cells of a shard, straight from the columns. What has been added elsewhere since is left out.
   *
   * @param {number} shard
   * @param {(rows: Rows, row: number) => void} visit
   */
  eachRow(shard, visit) {
    for (const held of this.#cells.values()) {
      if (held.shard !== shard) continue
      for (const rows of held.kinds) {
        for (let row = 0; row < rows.count; row++) if (!this.#older.size || this.#isHere(held, rows.ids[row])) visit(rows, row)
      }
    }
  }

  /** Copies the rows of a cell behind those of a table. @param {HeldCell} held @param {Rows} rows @param {KindTable} table */
  #gather(held, rows, table) {
    const at = table.count
    if (!this.#older.size) {
      table.ids.set(rows.ids.subarray(0, rows.count), at)
      rows.columns.forEach((column, i) => table.columns[rows.layout.names[i]].set(column.subarray(0, rows.count), at))
      table.count += rows.count
      return
    }
    for (let row = 0; row < rows.count; row++) {
      if (!this.#isHere(held, rows.ids[row])) continue
      table.ids[table.count] = rows.ids[row]
      rows.columns.forEach((column, i) => (table.columns[rows.layout.names[i]][table.count] = column[row]))
      table.count++
    }
  }

  /** @param {HeldCell} held @param {number} id of a row in it */
  #isHere(held, id) {
    return this.#where.get(id)?.cell === held.cell
  }

  // ------------------------------------------------------------ writing

  /**
   * Takes one frame in, then tells the listeners what it changed.
   *
   * @param {Frame} frame
   * @returns {TickSeen[] | null} the ticks it completed; null where the whole frame was dropped because its tick had been seen
   * @throws {MirrorError} where the frame does not fit the picture; the picture is then unusable until the next welcome
   */
  apply(frame) {
    for (const welcome of frame.welcomes) this.#welcome(welcome)
    if (!this.grid) {
      if (frame.heads.length || frame.views.length || frame.keyframes.length) throw new MirrorError('world before welcome')
      return []
    }
    if (!this.#allNews(frame.heads)) {
      this.framesDropped++
      return null
    }
    this.#entered.clear()
    const seen = frame.heads.map((head) => this.#head(head))
    this.#bridge.advance(seen)
    for (const update of frame.updates) this.#update(update)
    for (const view of frame.views) this.#view(view)
    for (const keyframe of frame.keyframes) this.#keyframe(keyframe)
    const owned = frame.owns.filter((own) => this.#takeOwn(own)).length > 0
    this.version++
    this.#settleCarried(frame)
    this.#tell()
    if (owned) this.emit('own', this.own)
    return seen
  }

  /** @param {Welcome} welcome */
  #welcome(welcome) {
    const sameWorld = welcome.contract === this.#contract && this.grid !== null
    // What a broken frame brought was never told, and what it took was not either.
    for (const id of this.#came) this.#where.delete(id)
    for (const [id, entity] of this.#went) this.#carried.set(id, entity)
    this.#came.clear()
    this.#went.clear()
    this.#masks.clear()
    for (const id of this.#where.keys()) this.#carried.set(id, /** @type {Entity} */ (this.get(id)))
    for (const entity of this.#bridge.all()) this.#carried.set(entity.id, entity)
    this.#bridge.clear()
    this.#older.clear()
    if (!sameWorld) {
      for (const [id, entity] of this.#carried) this.#went.set(id, entity)
      this.#carried.clear()
      this.#tables.clear()
    }
    this.#carriedFrames = 0
    this.#cells.clear()
    this.#where.clear()
    // A new socket starts with whole cells: they count even where they are of a tick that the old socket had shown already.
    this.#marks.clear()
    if (!sameWorld || welcome.session !== this.#session) this.own = { entity: 0, kind: 0, values: [] }
    this.#contract = welcome.contract
    this.#session = welcome.session
    this.#tickIntervalUs = welcome.tick_interval_us
    checkGrid(welcome.grid)
    this.grid = welcome.grid
    this.kinds = welcome.kinds.map(layoutOf)
  }

  /** @param {readonly import('./wire.js').TickHead[]} heads @returns {boolean} false where all were seen before */
  #allNews(heads) {
    const grid = /** @type {Grid} */ (this.grid)
    this.#fresh.clear()
    let old = 0
    for (const { shard, epoch, tick } of heads) {
      if (shard >= grid.shards_x * grid.shards_y) throw new MirrorError(`shard ${shard} lies outside the world`)
      if (this.#fresh.has(shard)) throw new MirrorError(`two heads of shard ${shard} in one bag`)
      this.#fresh.add(shard)
      const mark = this.#marks.get(shard)
      if (mark && (epoch < mark.epoch || (epoch === mark.epoch && tick <= mark.tick))) old++
    }
    if (old && old < heads.length) throw new MirrorError('a bag holds old and new ticks')
    return old === 0
  }

  /** @param {import('./wire.js').TickHead} head @returns {TickSeen} */
  #head(head) {
    const mark = this.#marks.get(head.shard)
    // A new owner may take up below the tick we saw only if committed ticks were lost; nothing moves backwards then.
    const ticks = mark ? Math.max(0, head.tick - mark.tick) : 0
    if (ticks) {
      for (const held of this.#cells.values()) {
        if (held.shard === head.shard) for (const rows of held.kinds) if (rows.layout.moves) rows.advance(ticks)
      }
    }
    const tick_interval_us = head.tick_interval_us || this.#tickIntervalUs
    this.#marks.set(head.shard, { epoch: head.epoch, tick: head.tick, tick_interval_us })
    return { shard: head.shard, epoch: head.epoch, tick: head.tick, tick_interval_us, ticks }
  }

  /** @param {import('./wire.js').Cell} update */
  #update(update) {
    const held = this.#cells.get(update.cell)
    if (!held) return
    const rows = this.#rowsOf(held, update)
    if (update.removed.length) rows.remove(update.removed, (row) => this.#rowLeaves(held, rows, row))
    this.#insert(held, rows, update)
    /** @param {number} row @param {number} mask */
    const note = (row, mask) => {
      const id = rows.ids[row]
      this.#masks.set(id, (this.#masks.get(id) ?? 0) | mask)
    }
    rows.change(update.changed, note)
    if (update.restated.length) {
      const half = Math.floor(/** @type {Grid} */ (this.grid).cell_size / 2)
      rows.restate(update.restated, held.x0 + half, held.y0 + half, note)
    }
  }

  /** @param {import('./wire.js').View} view */
  #view(view) {
    for (const cell of view.left) this.#forget(cell)
    const grid = /** @type {Grid} */ (this.grid)
    for (const cell of view.entered) {
      if (cell >= grid.cells_x * grid.cells_y) throw new MirrorError(`cell ${cell} lies outside the world`)
      this.#forget(cell)
      this.#entered.add(cell)
      this.#cells.set(cell, {
        cell,
        shard: this.shardOf(cell),
        x0: (cell % grid.cells_x) * grid.cell_size,
        y0: Math.floor(cell / grid.cells_x) * grid.cell_size,
        kinds: this.kinds.map((layout) => new Rows(layout)),
      })
    }
  }

  /** @param {import('./wire.js').Cell} keyframe */
  #keyframe(keyframe) {
    if (!this.#entered.has(keyframe.cell)) throw new MirrorError(`keyframe of cell ${keyframe.cell}, which is not entered`)
    if (keyframe.removed.length || keyframe.changed.length || keyframe.restated.length) throw new MirrorError('a keyframe only adds')
    const held = this.#cells.get(keyframe.cell)
    if (!held) return
    const rows = this.#rowsOf(held, keyframe)
    if (rows.count) throw new MirrorError(`two keyframes of ${rows.layout.name} in cell ${keyframe.cell}`)
    this.#insert(held, rows, keyframe)
  }

  /** @param {HeldCell} held @param {Rows} rows @param {import('./wire.js').Cell} piece */
  #insert(held, rows, piece) {
    const kind = rows.layout.index
    for (const id of rows.insert(piece.added, piece.columns, held.x0, held.y0)) {
      const before = this.#where.get(id)
      if (before) this.#older.set(id, [...(this.#older.get(id) ?? []), before])
      if (before || this.#went.delete(id) || this.#bridge.take(id) || this.#carried.delete(id)) this.#masks.set(id, -1)
      else this.#came.add(id)
      this.#where.set(id, { cell: held.cell, kind })
    }
  }

  /** @param {number} cell */
  #forget(cell) {
    const held = this.#cells.get(cell)
    if (!held) return
    for (const rows of held.kinds) for (let row = 0; row < rows.count; row++) this.#rowLeaves(held, rows, row)
    this.#cells.delete(cell)
  }

  /** @param {HeldCell} held @param {Rows} rows @param {number} row */
  #rowLeaves(held, rows, row) {
    const id = rows.ids[row]
    // An entity that came into another cell first (two shards' frames, in either order) lives on there.
    const older = this.#older.get(id)
    if (older) {
      const back = this.#isHere(held, id) ? older.pop() : undefined
      const left = older.filter(({ cell }) => cell !== held.cell)
      if (left.length) this.#older.set(id, left)
      else this.#older.delete(id)
      if (back) this.#where.set(id, back)
      if (back) this.#masks.set(id, -1)
      return
    }
    this.#where.delete(id)
    this.#masks.delete(id)
    if (!this.#came.delete(id)) this.#went.set(id, this.#entity(held, rows, row))
  }

  /** @param {import('./wire.js').Own} own @returns {boolean} whether it says anything new */
  #takeOwn(own) {
    const kind = this.kinds[own.kind]
    if (own.entity && own.values.length !== kind?.ownerNames.length) {
      throw new MirrorError(`${own.values.length} owner values for an avatar of kind ${own.kind}`)
    }
    const before = this.own
    this.own = own
    const same = own.entity === before.entity && own.kind === before.kind && own.values.length === before.values.length
    return !same || own.values.some((value, i) => value !== before.values[i])
  }

  /** Gives up entities from before a resume whose cell has come anew without them. @param {Frame} frame */
  #settleCarried(frame) {
    if (!this.#carried.size) return
    if (frame.heads.length) this.#carriedFrames++
    const patience = this.#carriedFrames <= CARRIED_FRAMES_MAX
    for (const [id, entity] of this.#carried) {
      if (patience && !this.#cells.has(entity.cell)) continue
      this.#carried.delete(id)
      this.#went.set(id, entity)
    }
  }

  #tell() {
    const [came, went, masks] = [this.#came, this.#went, this.#masks]
    this.#came = new Set()
    this.#went = new Map()
    this.#masks = new Map()
    for (const entity of went.values()) {
      if (this.#mayComeUp(entity)) this.#bridge.keep(entity)
      else this.emit('remove', entity, this.#reason(entity))
    }
    for (const entity of this.#bridge.expire()) this.emit('remove', entity, this.#reason(entity))
    for (const id of came) this.emit('add', /** @type {Entity} */ (this.get(id)))
    for (const [id, mask] of masks) {
      const place = this.#where.get(id)
      if (place && !came.has(id)) this.emit('change', id, this.kinds[place.kind].name, mask)
    }
  }

  /** A row that left a cell we hold, at a place we still hold, can only have ended. @param {Entity} entity @returns {RemoveReason} */
  #reason(entity) {
    const grid = /** @type {Grid} */ (this.grid)
    if (!this.#cells.has(entity.cell)) return 'unseen'
    if (entity.x === undefined || entity.vx === undefined) return 'gone'
    const cx = Math.min(grid.cells_x - 1, Math.max(0, Math.floor(entity.x / grid.cell_size)))
    const cy = Math.min(grid.cells_y - 1, Math.max(0, Math.floor(entity.y / grid.cell_size)))
    return this.#cells.has(cy * grid.cells_x + cx) ? 'gone' : 'unseen'
  }

  /** Whether an entity that left its cell is likely to be in another shard's soon. @param {Entity} entity */
  #mayComeUp(entity) {
    // A cell that was left or sent anew says nothing of where its entities went.
    if (!this.#cells.has(entity.cell) || this.#entered.has(entity.cell)) return false
    if (entity.id === this.own.entity) return true
    return mayCross(entity, /** @type {Grid} */ (this.grid), (cell) => this.#cells.get(cell)?.shard)
  }

  /** @param {HeldCell} held @param {import('./wire.js').Cell} piece @returns {Rows} */
  #rowsOf(held, piece) {
    const rows = held.kinds[piece.kind]
    if (!rows) throw new MirrorError(`kind ${piece.kind} of ${held.kinds.length}`)
    if (!this.#fresh.has(held.shard)) throw new MirrorError(`cell ${piece.cell} comes without a head of shard ${held.shard}`)
    return rows
  }

  /** @param {HeldCell} held @param {Rows} rows @param {number} row @returns {Entity} */
  #entity(held, rows, row) {
    /** @type {Entity} */
    const entity = { id: rows.ids[row], kind: rows.layout.name, cell: held.cell, shard: held.shard }
    rows.layout.names.forEach((name, i) => (entity[name] = rows.columns[i][row]))
    return entity
  }
}

/** @param {Grid} grid */
function checkGrid(grid) {
  const { cells_x, cells_y, cell_size, shards_x, shards_y } = grid
  if (!cells_x || !cells_y || !cell_size || !shards_x || !shards_y || cells_x % shards_x || cells_y % shards_y) {
    throw new MirrorError(`a world of ${cells_x} x ${cells_y} cells of ${cell_size} in ${shards_x} x ${shards_y} shards`)
  }
}
