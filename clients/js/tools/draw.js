/**
 * Draws what a client received, at the times it would have drawn: for proofs and tests that compare it with the server and with other
 * clients.
 *
 *     node tools/draw.js KIND < recording > places
 *
 * In: JSON, `{"messages": [[arrival in ms, base64], ...], "frames": [ms, ...]}`, both ascending. Out: one JSON line a frame,
 * `[sight, delay in ms, {id: [x, y], ...}, {id: [heading, x, y, heading], ...}]`: the sight of the first shard; of all entities of that
 * kind, where `Interpolator.interpolated` places them, and how they turn; then where `predicted` does.
 */

import { argv, stdin, stdout } from 'node:process'
import { Interpolator } from '../src/interpolate.js'
import { Mirror } from '../src/mirror.js'
import { decodeFrame } from '../src/wire.js'

const chunks = []
for await (const chunk of stdin) chunks.push(chunk)
/** @type {{messages: [number, string][], frames: number[]}} */
const recording = JSON.parse(Buffer.concat(chunks).toString())
const [mirror, interpolator] = [new Mirror(), new Interpolator()]

/** @param {number} now_ms @param {string} message */
function take(now_ms, message) {
  const frame = decodeFrame(new Uint8Array(Buffer.from(message, 'base64')))
  if (frame.welcomes.length) interpolator.restart()
  const seen = mirror.apply(frame)
  if (seen) interpolator.record(mirror, seen, now_ms)
}

let next = 0
for (const now_ms of recording.frames) {
  while (next < recording.messages.length && recording.messages[next][0] <= now_ms) take(...recording.messages[next++])
  /** @type {Record<number, [number, number]>} */
  const places = {}
  /** @type {Record<number, number[]>} */
  const more = {}
  const table = mirror.grid ? mirror.table(argv[2]) : null
  for (let row = 0; row < (table?.count ?? 0); row++) {
    const id = /** @type {any} */ (table).ids[row]
    const out = /** @type {any} */ ({ x: 0, y: 0, vx: 0, vy: 0 })
    if (!interpolator.interpolated(id, now_ms, out)) continue
    places[id] = [out.x, out.y]
    more[id] = [out.heading]
    interpolator.predicted(id, now_ms, out)
    more[id].push(out.x, out.y, out.heading)
  }
  stdout.write(`${JSON.stringify([interpolator.sight(0, now_ms), interpolator.delay_ms, places, more])}\n`)
}
