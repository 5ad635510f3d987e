/**
 * The rows of one kind of entity in one cell: ids in ascending order and one typed column for every replicated field.
 * Positions are kept in world coordinates.
 */

/** A frame that does not fit the picture it is applied to: the server and this client disagree. */
export class MirrorError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message)
    this.name = 'MirrorError'
  }
}

/**
 * A kind of entity, made ready from `Welcome.kinds`.
 *
 * @typedef {{
 *   index: number, name: string, moves: boolean, names: readonly string[], modulo: readonly number[],
 *   units: readonly number[], ownerNames: readonly string[], groups: number
 * }} KindLayout
 */

/** @typedef {Float64Array<ArrayBuffer> | Int32Array<ArrayBuffer>} ColumnArray */

/**
 * @param {import('./wire.js').Kind} kind
 * @param {number} index
 * @returns {KindLayout}
 */
export function layoutOf(kind, index) {
  const count = kind.columns.length
  if (kind.moves && count < 4) throw new MirrorError(`kind ${kind.name} moves but has ${count} columns`)
  return Object.freeze({
    index,
    name: kind.name,
    moves: kind.moves,
    names: kind.columns.map((c) => c.name),
    modulo: kind.columns.map((c) => c.modulo),
    units: kind.columns.map((c) => c.units_per_one || 1),
    ownerNames: kind.owner_columns.map((c) => c.name),
    groups: kind.moves ? count - 2 : count,
  })
}

/**
 * Positions get doubles (a world may be wider than 32 bits), everything else is what the wire carries.
 *
 * @param {KindLayout} layout
 * @param {number} capacity
 * @returns {ColumnArray[]}
 */
export function allocateColumns(layout, capacity) {
  return layout.names.map((_, i) => (layout.moves && i < 2 ? new Float64Array(capacity) : new Int32Array(capacity)))
}

/** See the module. */
export class Rows {
  /** @param {KindLayout} layout */
  constructor(layout) {
    this.layout = layout
    this.count = 0
    this.ids = new Float64Array(4)
    this.columns = allocateColumns(layout, 4)
  }

  /** @param {number} id @returns {number} the row of an id, -1 where it is not here */
  find(id) {
    const row = this.#lowerBound(id)
    return row < this.count && this.ids[row] === id ? row : -1
  }

  /** Moves all rows by `ticks` steps of their velocity. @param {number} ticks */
  advance(ticks) {
    const [x, y, vx, vy] = this.columns
    for (let row = 0; row < this.count; row++) {
      x[row] += ticks * vx[row]
      y[row] += ticks * vy[row]
    }
  }

  /**
   * Takes rows out. `gaps` are indices into the order so far, gap-coded.
   *
   * @param {readonly number[]} gaps
   * @param {(row: number) => void} leaving called for each row while its values are still there
   */
  remove(gaps, leaving) {
    const gone = ungap(gaps, this.count, this.layout.name)
    for (const row of gone) leaving(row)
    let to = gone[0]
    for (let k = 0; k < gone.length; k++) {
      const from = gone[k] + 1
      const until = k + 1 < gone.length ? gone[k + 1] : this.count
      this.ids.copyWithin(to, from, until)
      for (const column of this.columns) column.copyWithin(to, from, until)
      to += until - from
    }
    this.count = to
  }

  /**
   * Puts rows in where the id order wants them.
   *
   * @param {readonly number[]} differences ids, each but the first as its difference to the one before
   * @param {readonly number[]} values column by column; positions relative to (x0, y0)
   * @param {number} x0
   * @param {number} y0
   * @returns {number[]} the ids
   */
  insert(differences, values, x0, y0) {
    const { layout } = this
    const added = differences.length
    if (values.length !== added * layout.names.length) {
      throw new MirrorError(`${layout.name}: ${values.length} values for ${added} rows of ${layout.names.length} columns`)
    }
    if (!added) return []
    const ids = idsFrom(differences, layout.name)
    this.#reserve(this.count + added)
    // From the back: each old row moves at most once.
    let old = this.count - 1
    let to = this.count + added - 1
    for (let k = added - 1; k >= 0; k--) {
      while (old >= 0 && this.ids[old] > ids[k]) this.#move(old--, to--)
      if (old >= 0 && this.ids[old] === ids[k]) throw new MirrorError(`${layout.name} ${ids[k]} is added twice`)
      this.ids[to] = ids[k]
      this.columns.forEach((column, c) => (column[to] = values[c * added + k]))
      if (layout.moves) {
        this.columns[0][to] += x0
        this.columns[1][to] += y0
      }
      to--
    }
    this.count += added
    return ids
  }

  /**
   * Applies change records: index (gap-coded), mask, then each present group's differences.
   *
   * @param {readonly number[]} records
   * @param {(row: number, mask: number) => void} changed
   */
  change(records, changed) {
    const { layout } = this
    let at = 0
    let row = -1
    while (at < records.length) {
      if (at + 2 > records.length) throw new MirrorError(`${layout.name}: a change record is cut short`)
      const gap = records[at++]
      const mask = records[at++]
      row += gap + 1
      if (gap < 0 || row >= this.count) throw new MirrorError(`${layout.name}: change of row ${row} of ${this.count}`)
      if (mask < 0 || mask >= 2 ** layout.groups) throw new MirrorError(`${layout.name}: change mask ${mask}`)
      at = layout.moves ? this.#changeMoving(row, mask, records, at) : this.#changeColumns(row, mask, 0, records, at)
      if (at > records.length) throw new MirrorError(`${layout.name}: a change record is cut short`)
      changed(row, mask)
    }
  }

  /**
   * Applies restated rows: index (gap-coded), mask, then each present group's values as they are at this tick.
   *
   * @param {readonly number[]} records
   * @param {number} middleX of the cell
   * @param {number} middleY
   * @param {(row: number, mask: number) => void} changed
   */
  restate(records, middleX, middleY, changed) {
    const { layout, columns } = this
    const first = layout.moves ? 2 : 0
    let at = 0
    let row = -1
    while (at < records.length) {
      if (at + 2 > records.length) throw new MirrorError(`${layout.name}: a restated row is cut short`)
      const gap = records[at++]
      const mask = records[at++]
      row += gap + 1
      if (gap < 0 || row >= this.count) throw new MirrorError(`${layout.name}: restated row ${row} of ${this.count}`)
      if (mask <= 0 || mask >= 2 ** layout.groups) throw new MirrorError(`${layout.name}: restated mask ${mask}`)
      if (layout.moves && mask & 2) throw new MirrorError(`${layout.name}: a restated row has its place with its velocity`)
      if (layout.moves && mask & 1) {
        columns[0][row] = middleX + records[at++]
        columns[1][row] = middleY + records[at++]
        columns[2][row] = records[at++]
        columns[3][row] = records[at++]
      }
      for (let bit = first; bit < layout.groups; bit++) {
        if (mask & (1 << bit)) columns[bit + first][row] = records[at++]
      }
      if (at > records.length) throw new MirrorError(`${layout.name}: a restated row is cut short`)
      changed(row, mask)
    }
  }

  /** @param {number} row @param {number} mask @param {readonly number[]} records @param {number} at */
  #changeMoving(row, mask, records, at) {
    const [x, y, vx, vy] = this.columns
    if (mask & 1) {
      const dvx = records[at++]
      const dvy = records[at++]
      vx[row] += dvx
      vy[row] += dvy
      // The new velocity is taken to have held for the whole tick.
      x[row] += dvx
      y[row] += dvy
    }
    if (mask & 2) {
      x[row] += records[at++]
      y[row] += records[at++]
    }
    return this.#changeColumns(row, mask >>> 2, 4, records, at)
  }

  /** @param {number} row @param {number} mask @param {number} column @param {readonly number[]} records @param {number} at */
  #changeColumns(row, mask, column, records, at) {
    for (; mask; mask >>>= 1, column++) {
      if (!(mask & 1)) continue
      const modulo = this.layout.modulo[column]
      const value = this.columns[column][row] + records[at++]
      this.columns[column][row] = modulo ? ((value % modulo) + modulo) % modulo : value
    }
    return at
  }

  /** @param {number} from @param {number} to */
  #move(from, to) {
    this.ids[to] = this.ids[from]
    for (const column of this.columns) column[to] = column[from]
  }

  /** @param {number} id */
  #lowerBound(id) {
    let low = 0
    let high = this.count
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.ids[middle] < id) low = middle + 1
      else high = middle
    }
    return low
  }

  /** @param {number} wanted */
  #reserve(wanted) {
    if (wanted <= this.ids.length) return
    const capacity = Math.max(wanted, this.ids.length * 2)
    const ids = new Float64Array(capacity)
    ids.set(this.ids)
    this.ids = ids
    this.columns = allocateColumns(this.layout, capacity).map((column, c) => {
      column.set(this.columns[c])
      return column
    })
  }
}

/** @param {readonly number[]} gaps @param {number} count @param {string} name */
function ungap(gaps, count, name) {
  let row = -1
  return gaps.map((gap) => {
    row += gap + 1
    if (row >= count) throw new MirrorError(`${name}: removal of row ${row} of ${count}`)
    return row
  })
}

/** @param {readonly number[]} differences @param {string} name */
function idsFrom(differences, name) {
  let id = 0
  return differences.map((difference, k) => {
    id += difference
    if (k > 0 && difference === 0) throw new MirrorError(`${name}: id ${id} twice in one list`)
    if (!Number.isSafeInteger(id)) throw new MirrorError(`${name}: id above 2^53 - 1`)
    return id
  })
}
