/** The cases of `clients/cases`, which the Python SDK's tests read too (`tests/client/test_cases.py`). */

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'

import { Interpolator } from '../src/interpolate.js'
import { Mirror } from '../src/mirror.js'
import { Histogram } from '../src/stats.js'
import { frameOf } from './gateway.js'

/** @param {string} file @returns {any} */
const read = (file) => JSON.parse(readFileSync(new URL(`../../cases/${file}`, import.meta.url), 'utf8'))
const { welcome, cases } = read('drawing.json')

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

for (const { name, times_us, plain, summary } of read('histograms.json').cases) {
  test(`a histogram of ${name}`, () => {
    const histogram = new Histogram()
    for (const us of times_us) histogram.record((us + 0.5) / 1000)
    assert.deepEqual(histogram.toPlain(), plain)
    assert.deepEqual(histogram.summary(), summary)
    const both = Histogram.fromPlain(JSON.parse(JSON.stringify(plain)))
    both.add(histogram)
    assert.equal(both.count, 2 * times_us.length)
    assert.equal(both.quantile_ms(0.5), summary.p50_ms)
  })
}
