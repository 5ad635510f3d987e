import assert from 'node:assert/strict'
import { test } from 'node:test'

import { PENDING_MAX, WAITING_MAX } from '../src/inputs.js'
import { CLOSE_NO_WELCOME, CLOSE_POLICY, CLOSE_SILENT_SERVER, delayOf, policyOf } from '../src/policy.js'
import { Session } from '../src/session.js'
import { frameOf, Gateway } from './gateway.js'
import { officialClientMessage } from './official.js'
import { seeded } from './random.js'
import { WELCOME } from './world.js'

/** @param {any} [welcome] */
function playing(welcome = {}) {
  const session = new Session({ title: 'model', random: () => 0.5 })
  session.opening(0)
  session.opened('token', 0)
  session.takeOutgoing()
  session.accept(frameOf({ welcomes: [{ ...WELCOME, ...welcome }] }), 1)
  return session
}

/** @param {Session} session @returns {any[]} */
const sent = (session) => session.takeOutgoing().map(officialClientMessage)
/** @param {Session} session @returns {number[]} */
const seqs = (session) => sent(session).flatMap((m) => (m.input ? [m.input.seq] : []))

/** @param {Session} session */
const wish = (session) => session.wantsClose

test('hello comes first, then pings and inputs', () => {
  const session = new Session({ title: 'model', client: 'test/1' })
  session.opening(0)
  assert.deepEqual(sent(session), [])
  session.opened('secret', 5)
  assert.equal(session.state, 'greeting')
  const [{ hello }] = sent(session)
  assert.deepEqual([hello.protocol, hello.title, hello.token, hello.client], [1, 'model', 'secret', 'test/1'])
  session.accept(frameOf({ welcomes: [WELCOME] }), 10)
  assert.equal(session.state, 'playing')
  assert.ok(sent(session)[0].ping)
  session.inputs.add('Steer', { thrust: 1, turn: -1 })
  session.advance(20)
  assert.deepEqual(sent(session)[0].input, { seq: 1, values: [-1, 1] })
})

test('round trip and clock offset come from pings', () => {
  const session = playing()
  const [{ ping }] = sent(session)
  session.accept(frameOf({ pongs: [{ nonce: ping.nonce, server_time_us: 5_000_000 }] }), 41)
  assert.equal(session.clock.round_trip_ms, 40)
  assert.equal(session.clock.now(41), 5020)
  session.accept(frameOf({ pongs: [{ nonce: 999, server_time_us: 1 }] }), 42)
  assert.equal(session.clock.round_trip_ms, 40)
})

test('inputs are checked before they are sent', () => {
  const { inputs } = playing()
  assert.throws(() => inputs.add('Jump', []), /no input Jump; this title has Steer/)
  assert.throws(() => inputs.add('Steer', [1]), RangeError)
  assert.throws(() => inputs.add('Steer', [2, 0]), /Steer.turn is 2/)
  assert.throws(() => inputs.add('Steer', { turn: 0.5, thrust: 0 }), RangeError)
  assert.throws(() => inputs.add('Steer', { turn: 0 }), RangeError)
  assert.throws(() => inputs.add('Steer', { turn: 0, thrust: 0, fire: 1 }), /no field fire/)
  assert.throws(() => inputs.add('Steer', { turn: NaN, thrust: 0 }), RangeError)
})

test('no more inputs are under way than the server lets wait, and the rest is bounded and counted', () => {
  const session = playing({ limits: { ...WELCOME.limits, messages_per_second_max: 1000 } })
  session.takeOutgoing()
  for (let i = 0; i < PENDING_MAX + 5; i++) assert.ok(session.inputs.add(0, [i % 2, 0]))
  session.advance(10)
  assert.equal(seqs(session).length, PENDING_MAX)
  for (let i = 5; i < WAITING_MAX + 10; i++) session.inputs.add(0, [1, 1])
  assert.equal(session.inputs.waiting.length, WAITING_MAX)
  assert.equal(session.inputs.coalesced, 10)
  session.accept(frameOf({ acks: [{ seq: 5 }] }), 20)
  assert.deepEqual(seqs(session), [25, 26, 27, 28, 29])
})

test('of inputs marked latest only the newest waits', () => {
  const session = playing()
  session.closed(1006, '', 10)
  for (let i = 0; i < 50; i++) session.inputs.add('Steer', [(i % 3) - 1, 1], { latest: true })
  assert.equal(session.inputs.waiting.length, 1)
  assert.equal(session.inputs.coalesced, 49)
})

test('we stay below the rate the server allows', () => {
  const session = playing()
  session.takeOutgoing()
  let count = 0
  for (let now = 0; now <= 10_000; now += 50) {
    for (let i = 0; i < 6; i++) session.inputs.add(0, [i % 2, 0])
    session.advance(now)
    const messages = sent(session)
    count += messages.length
    const last = messages.findLast((m) => m.input)
    session.accept(frameOf({ acks: last ? [{ seq: last.input.seq }] : [] }), now)
    count += sent(session).length
  }
  assert.ok(count <= 10 * 60 + 60, `${count} messages in 10 s`)
  assert.ok(count > 300, `${count} messages in 10 s`)
})

test('after a resume everything above last_seq is sent again, once and in order', () => {
  const session = playing()
  for (let i = 0; i < 6; i++) session.inputs.add(0, [0, i % 2])
  session.advance(10)
  session.accept(frameOf({ acks: [{ seq: 2, shard: 1, tick: 9 }] }), 20)
  session.takeOutgoing()
  assert.deepEqual(session.acked, { seq: 2, shard: 1, tick: 9 })
  assert.deepEqual(session.closed(1006, '', 30).again, true)
  session.inputs.add(0, [1, 1])
  session.opening(40)
  session.opened('token', 41)
  assert.deepEqual([...sent(session)[0].hello.resume], [1, 2, 3])
  session.accept(frameOf({ welcomes: [{ ...WELCOME, last_seq: 4 }] }), 50)
  assert.deepEqual(seqs(session), [5, 6, 7])
  assert.equal(session.stats.resumes, 1)
})

test('a new session numbers from 1 and says what was lost', () => {
  const session = playing()
  for (let i = 0; i < 4; i++) session.inputs.add(0, [0, 1])
  session.advance(10)
  session.takeOutgoing()
  const over = session.closed(4008, 'session over', 20)
  assert.deepEqual([over.again, over.freshToken], [true, true])
  session.opening(30)
  session.opened('token', 30)
  assert.equal(sent(session)[0].hello.resume, undefined)
  session.accept(frameOf({ welcomes: [{ ...WELCOME, session: 43 }] }), 40)
  assert.equal(session.inputs.lost, 4)
  session.inputs.add(0, [1, 0])
  session.advance(41)
  assert.deepEqual(seqs(session), [1])
})

test('a server that went back to an older state still gets no gap', () => {
  const session = playing()
  for (let i = 0; i < 6; i++) session.inputs.add(0, [0, 1])
  session.advance(10)
  session.accept(frameOf({ acks: [{ seq: 4 }] }), 20)
  session.takeOutgoing()
  session.closed(1006, '', 30)
  session.opening(30)
  session.opened('token', 30)
  session.accept(frameOf({ welcomes: [{ ...WELCOME, last_seq: 1 }] }), 40)
  assert.deepEqual(seqs(session), [2, 3])
})

test('what each close code leads to', () => {
  /** @type {Record<string, number[]>} */
  const table = {
    over: [1000, 1002, 1003, 1007, 1009, 4001, 4002, 4004, 4005, 4006, 4012, 4999],
    atOnce: [1006, 1011, 1012, 4007, 4008, 4010, CLOSE_SILENT_SERVER],
    waits: [1008, 1013, 4003, 4009, 4011, CLOSE_NO_WELCOME],
  }
  for (const code of table.over) assert.equal(playing().closed(code, '', 10).again, false, `${code}`)
  for (const code of table.atOnce) assert.equal(playing().closed(code, '', 10).after_ms, 0, `${code}`)
  for (const code of table.waits) assert.ok(playing().closed(code, '', 10).after_ms >= 100, `${code}`)
  for (const code of CLOSE_POLICY.keys()) assert.ok([...table.over, ...table.atOnce, ...table.waits, 3001].includes(code), `${code}`)
})

test('"try later" waits as long as the server says, and never for ever', () => {
  assert.ok(delayOf('later', 0, 'the server is full, try again in 12 s', 0) === 12_000)
  assert.ok(delayOf('later', 0, 'full: retry after 90000 seconds', 1) <= 75_000)
  assert.ok(delayOf('later', 0, 'full', 0) >= 1_000)
})

test('losses in a row wait longer and longer, up to a bound and not in step', () => {
  const session = playing()
  const delays = []
  for (let i = 0; i < 12; i++) {
    delays.push(session.closed(1006, '', 10 + i).after_ms)
    session.opening(10 + i)
  }
  assert.equal(delays[0], 0)
  for (let i = 2; i < delays.length; i++) assert.ok(delays[i] >= delays[i - 1])
  assert.ok(delays[11] <= 10_000)
  assert.notEqual(delayOf('backoff', 3, '', 0.1), delayOf('backoff', 3, '', 0.9))
})

test('a session that played for a while starts from the first delay again', () => {
  const session = playing()
  session.closed(1006, '', 10)
  session.opening(20)
  session.opened('token', 20)
  session.accept(frameOf({ welcomes: [WELCOME] }), 30)
  assert.equal(session.closed(1012, '', 20_000).after_ms, 0)
})

test('a refused token is renewed, then the session given up, then the player told', () => {
  const session = playing()
  const first = session.closed(4003, 'not authorised', 10)
  assert.deepEqual([first.again, first.freshToken, session.canResume], [true, true, true])
  session.opening(20)
  assert.equal(session.closed(4003, 'not authorised', 30).again, true)
  assert.equal(session.canResume, false)
  session.opening(40)
  assert.equal(session.closed(4003, 'not authorised', 50).again, false)
  assert.equal(session.state, 'over')
})

test('nobody answers: the session gives up in the end', () => {
  const session = new Session({ title: 'model' })
  let tries = 0
  do {
    session.opening(tries)
    tries++
  } while (session.closed(1006, '', tries).again && tries < 1000)
  assert.ok(tries < 100)
})

test('a silent server is left, but our own sleep is not taken for its silence', () => {
  const session = playing()
  for (let now = 0; now < 8_000; now += 50) session.advance(now)
  assert.equal(session.wantsClose, null)
  for (let now = 8_000; now < 8_200; now += 50) session.advance(now)
  assert.equal(wish(session)?.code, CLOSE_SILENT_SERVER)

  const sleeper = playing()
  sleeper.advance(100)
  sleeper.advance(600_000)
  assert.equal(sleeper.wantsClose, null)
})

test('a server that accepts and says nothing is left', () => {
  const session = new Session({ title: 'model' })
  session.opening(0)
  session.advance(9_000)
  session.opened('token', 9_000)
  session.advance(18_000)
  assert.equal(session.wantsClose, null)
  session.advance(19_100)
  assert.equal(wish(session)?.code, CLOSE_NO_WELCOME)
})

test('another version of the protocol is the end', () => {
  const session = playing({ protocol: 2 })
  assert.equal(session.state, 'greeting')
  assert.match(session.wantsClose?.reason ?? '', /protocol 1, not 2/)
  assert.equal(session.closed(1000, '', 5).again, false)
})

test('bye says so and does not come back', () => {
  const session = playing()
  session.takeOutgoing()
  session.bye(50)
  assert.ok(sent(session)[0].bye)
  assert.equal(session.closed(1000, '', 60).again, false)
  assert.equal(policyOf(1000).name, 'bye')
})

test('through random losses every input is applied exactly once, in order', (t) => {
  const random = seeded(t)
  for (let round = 0; round < 30; round++) {
    const gateway = new Gateway()
    const session = new Session({ title: 'model', random: () => random.next() })
    /** @type {number[][]} */
    const made = []
    let now = 0
    /** @type {Uint8Array[]} */
    let wire = []
    const begin = () => {
      session.opening(now)
      session.opened('token', now)
    }
    begin()
    for (let step = 0; step < 600 || session.inputs.pending.length || session.inputs.waiting.length; step++) {
      assert.ok(step < 20_000, 'the last inputs never arrive')
      now += random.int(1, 60)
      if (step < 600 && session.welcome && random.chance(0.5)) {
        /** @type {number[]} */
        const value = [random.int(-1, 2), made.length % 2]
        if (session.inputs.waiting.length < WAITING_MAX) {
          session.inputs.add(0, value)
          made.push(value)
        }
      }
      session.advance(now)
      wire.push(...session.takeOutgoing())
      // The network takes any part of what was sent, in order.
      for (const bytes of wire.splice(0, random.int(0, 6))) if (!gateway.closing) gateway.receive(bytes)
      if (random.chance(0.7)) gateway.tick(4)
      for (const frame of gateway.outbox.splice(0, random.int(0, 4))) session.accept(frameOf(frame), now)
      const { closing } = gateway
      if (closing || (step < 600 && random.chance(0.03))) {
        assert.ok(!closing || closing.code === 4008, `closed with ${closing?.code} ${closing?.reason}`)
        wire = []
        gateway.drop()
        const decision = session.closed(closing?.code ?? 1006, closing?.reason ?? '', now)
        assert.ok(decision.again)
        now += 6_000
        begin()
      }
    }
    const applied = [...gateway.sessions.values()].flatMap((s) => s.applied.map((input) => input.values))
    assert.equal(session.inputs.lost, 0)
    assert.deepEqual(applied, made)
  }
})

test('times of acks, pings, ticks and losses are kept as histograms', () => {
  const session = playing()
  const [{ ping }] = sent(session)
  session.accept(frameOf({ pongs: [{ nonce: ping.nonce, server_time_us: 1 }] }), 41)
  session.inputs.add('Steer', { thrust: 1, turn: 0 })
  session.inputs.add('Steer', { thrust: 0, turn: 0 })
  session.advance(100)
  session.accept(frameOf({ heads: [{ shard: 0, epoch: 1, tick: 1 }], acks: [{ seq: 1, shard: 0, tick: 1 }] }), 160)
  // Another shard's ticks have their own beat.
  session.accept(frameOf({ heads: [{ shard: 1, epoch: 1, tick: 7 }] }), 170)
  session.accept(frameOf({ heads: [{ shard: 1, epoch: 1, tick: 8 }] }), 175)
  session.accept(frameOf({ heads: [{ shard: 0, epoch: 1, tick: 2 }] }), 210)
  session.closed(1006, '', 300)
  session.opening(500)
  session.opened('token', 500)
  session.accept(frameOf({ welcomes: [{ ...WELCOME, last_seq: 2 }] }), 550)
  const { ack, round_trip, gap, lost } = session.stats
  assert.deepEqual([round_trip.count, round_trip.maximum_us], [1, 40_000])
  assert.deepEqual([ack.count, ack.total_us], [2, 60_000 + 450_000])
  assert.deepEqual([gap.count, gap.maximum_us], [1, 50_000])
  assert.deepEqual([lost.count, lost.maximum_us], [1, 250_000])
  assert.equal(session.clock.error_ms, NaN)
})
