/** All rows of a kind gathered into plain arrays, for renderers. */

import { allocateColumns, allocateTeam } from './rows.js'

/** @typedef {import('./rows.js').KindLayout} KindLayout */
/** @typedef {import('./rows.js').Rows} Rows */

/**
 * All rows of a kind as plain arrays, valid until the next frame; entries from `count` on are left over. `told`: 1 where the
 * player is told the columns for the entity's team, which are left over elsewhere; empty for a kind without any.
 * @typedef {{count: number, ids: Float64Array, columns: Record<string, Float64Array | Int32Array>, told: Uint8Array}} KindTable
 */

/** @returns {KindTable} of a kind that is not known */
export function emptyTable() {
  return { count: 0, ids: new Float64Array(0), columns: {}, told: new Uint8Array(0) }
}

/** @param {KindLayout} layout @param {number} capacity @returns {KindTable} */
export function newTable(layout, capacity) {
  const columns = [...allocateColumns(layout, capacity), ...allocateTeam(layout, capacity)]
  return {
    count: 0,
    ids: new Float64Array(capacity),
    columns: Object.fromEntries([...layout.names, ...layout.teamNames].map((name, i) => [name, columns[i]])),
    told: new Uint8Array(layout.teamNames.length ? capacity : 0),
  }
}

/** Copies all rows of a cell behind those of a table. @param {KindTable} table @param {Rows} rows */
export function addRows(table, rows) {
  const at = table.count
  const { layout, count } = rows
  table.ids.set(rows.ids.subarray(0, count), at)
  rows.columns.forEach((column, i) => table.columns[layout.names[i]].set(column.subarray(0, count), at))
  rows.team.forEach((column, i) => table.columns[layout.teamNames[i]].set(column.subarray(0, count), at))
  if (rows.team.length) table.told.set(rows.told.subarray(0, count), at)
  table.count += count
}

/** Copies one row. @param {KindTable} table @param {Rows} rows @param {number} row */
export function addRow(table, rows, row) {
  const at = table.count++
  table.ids[at] = rows.ids[row]
  rows.columns.forEach((column, i) => (table.columns[rows.layout.names[i]][at] = column[row]))
  rows.team.forEach((column, i) => (table.columns[rows.layout.teamNames[i]][at] = column[row]))
  table.told[at] = rows.told[row]
}

/** Copies an entity that is in no cell. @param {KindTable} table @param {KindLayout} layout @param {import('./mirror.js').Entity} entity */
export function addEntity(table, layout, entity) {
  const at = table.count++
  table.ids[at] = entity.id
  for (const name of layout.names) table.columns[name][at] = entity[name]
  for (const name of layout.teamNames) {
    table.columns[name][at] = entity[name]
    table.told[at] = entity[name] === undefined ? 0 : 1
  }
}
