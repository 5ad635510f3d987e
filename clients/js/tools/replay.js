/**
 * Plays server messages back and prints what the mirror shows after each: for tests that compare it with other clients.
 *
 *     node tools/replay.js < messages > pictures
 *
 * In: messages, each with its length before it as 4 bytes, big-endian. Out: one line a message, a JSON list of
 * [kind, id, cell, column values...] sorted by (kind, id); `null` for a message that was dropped as old.
 */

import { stdin, stdout } from 'node:process'
import { Mirror } from '../src/mirror.js'
import { decodeFrame } from '../src/wire.js'

/** What the server told, without what the mirror adds between two shards. @param {Mirror} mirror */
function picture(mirror) {
  /** @type {number[][]} */
  const rows = []
  for (const shard of mirror.shards.keys()) {
    mirror.eachRow(shard, ({ layout, ids, columns }, row) => {
      const { cell } = /** @type {import('../src/mirror.js').Entity} */ (mirror.get(ids[row]))
      rows.push([layout.index, ids[row], cell, ...columns.map((column) => column[row])])
    })
  }
  return rows.sort((a, b) => a[0] - b[0] || a[1] - b[1])
}

const chunks = []
for await (const chunk of stdin) chunks.push(chunk)
const input = Buffer.concat(chunks)
const mirror = new Mirror()
for (let at = 0; at < input.length; ) {
  const length = input.readUInt32BE(at)
  const seen = mirror.apply(decodeFrame(input.subarray(at + 4, at + 4 + length)))
  stdout.write(`${JSON.stringify(seen && picture(mirror))}\n`)
  at += 4 + length
}
