/** The cases of `clients/cases`, which the Python SDK's tests read too (`tests/client/test_cases.py`). */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { Interpolator } from '../src/interpolate.js'
import { Mirror } from '../src/mirror.js'
import { frameOf } from './gateway.js'

const { welcome, cases } = JSON.parse(readFileSync(new URL('../../cases/drawing.json', import.meta.url), 'utf8'))

for (const { name, messages, draws } of cases) {
  test(name, () => {
    const [mirror, interpolator] = [new Mirror(), new Interpolator()]
    let next = 0
    for (const [now, id, how, expected] of draws) {
      for (; next < messages.length && messages[next][0] <= now; next++) {
        const [at, told] = messages[next]
        if (told.welcomes) interpolator.restart()
        const seen = mirror.apply(frameOf(told.welcomes ? { welcomes: [welcome] } : told))
        interpolator.record(mirror, /** @type {any[]} */ (seen), at)
      }
      const out = /** @type {any} */ ({ x: NaN, y: NaN, vx: 0, vy: 0 })
      const known = how === 'predicted' ? interpolator.predicted(id, now, out) : interpolator.interpolated(id, now, out)
      assert.equal(known, expected !== null, `${how} at ${now}`)
      for (const [column, value] of Object.entries(expected ?? {})) {
        assert.ok(Math.abs(out[column] - value) < 1e-4, `${how} ${column} at ${now}: ${out[column]}, not ${value}`)
      }
    }
  })
}
