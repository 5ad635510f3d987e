/**
 * Plays server messages back and prints what the mirror's listeners hear of each: for tests that compare it with other clients.
 *
 *     node tools/tell.js < messages > told
 *
 * In: messages, each with its length before it as 4 bytes, big-endian. Out: one line a message, a JSON list of what was told, in order:
 * ["add", id, kind, cell, values], ["change", id, kind, mask], ["remove", id, kind, cell, values, reason], ["own", id, values].
 */

import { stdin, stdout } from 'node:process'
import { Mirror } from '../src/mirror.js'
import { decodeFrame } from '../src/wire.js'

const chunks = []
for await (const chunk of stdin) chunks.push(chunk)
const input = Buffer.concat(chunks)
const mirror = new Mirror()
/** @type {unknown[]} */
let told = []

/** @param {import('../src/mirror.js').Entity} entity */
function plain({ id, kind, cell, shard: _, ...values }) {
  return [id, kind, cell, Object.values(values)]
}

mirror.on('add', (entity) => told.push(['add', ...plain(entity)]))
mirror.on('change', (...change) => told.push(['change', ...change]))
mirror.on('remove', (entity, reason) => told.push(['remove', ...plain(entity), reason]))
mirror.on('own', ({ entity, values }) => told.push(['own', entity, [...values]]))
for (let at = 0; at < input.length; ) {
  const length = input.readUInt32BE(at)
  mirror.apply(decodeFrame(input.subarray(at + 4, at + 4 + length)))
  stdout.write(`${JSON.stringify(told)}\n`)
  told = []
  at += 4 + length
}
