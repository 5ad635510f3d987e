/** Chance with a seed, so that a failing test can be run again: SEED=123 npm test */

const given = process.env.SEED

/**
 * @param {import('node:test').TestContext} t the seed is printed with the test's result
 * @returns {Random}
 */
export function seeded(t) {
  const seed = given ? Number(given) : Math.floor(Math.random() * 2 ** 32)
  t.diagnostic(`SEED=${seed}`)
  return new Random(seed)
}

/** mulberry32 (public domain, T. Ettinger): small and good enough for tests. */
export class Random {
  /** @param {number} seed */
  constructor(seed) {
    this.state = seed >>> 0
  }

  /** @returns {number} 0 <= r < 1 */
  next() {
    this.state = (this.state + 0x6d2b79f5) >>> 0
    let t = this.state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }

  /** @param {number} low @param {number} high exclusive */
  int(low, high) {
    return low + Math.floor(this.next() * (high - low))
  }

  /** @param {number} probability */
  chance(probability) {
    return this.next() < probability
  }

  /** @template T @param {readonly T[]} list @returns {T} */
  pick(list) {
    return list[this.int(0, list.length)]
  }
}
