import assert from 'node:assert/strict'
import { test } from 'node:test'

import { connect } from '../src/index.js'
import { bytesOf, Gateway } from './gateway.js'
import { WELCOME } from './world.js'

/** Sockets to a model gateway, opened and fed by the test. */
class Network {
  gateway = new Gateway()
  /** @type {any[]} */ sockets = []
  now = 0

  /** @returns {any} a WebSocket class */
  get socketClass() {
    const network = this
    return class {
      binaryType = ''
      readyState = 0
      /** @type {any} */ onopen = null
      /** @type {any} */ onmessage = null
      /** @type {any} */ onclose = null
      /** @type {any} */ onerror = null
      /** @type {number[]} */ closedWith = []

      /** @param {string} url */
      constructor(url) {
        this.url = url
        network.sockets.push(this)
      }

      /** @param {Uint8Array} bytes */
      send(bytes) {
        network.gateway.receive(bytes)
      }

      /** @param {number} code */
      close(code) {
        this.readyState = 3
        this.closedWith.push(code)
      }
    }
  }

  get socket() {
    return this.sockets.at(-1)
  }

  open() {
    this.socket.readyState = 1
    this.socket.onopen?.({})
    this.deliver()
  }

  deliver() {
    for (const frame of this.gateway.outbox.splice(0)) this.socket.onmessage?.({ data: bytesOf(frame).buffer })
  }

  /** @param {any} frame */
  give(frame) {
    this.socket.onmessage?.({ data: bytesOf(frame).buffer })
  }

  /** @param {number} code @param {string} [reason] */
  lose(code, reason = '') {
    this.gateway.drop()
    this.socket.onclose?.({ code, reason })
  }
}

/** @param {import('node:test').TestContext} t @param {any} [options] */
function start(t, options = {}) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] })
  const network = new Network()
  let tickets = 0
  const client = connect({
    title: 'model',
    ticket: () => ({ token: `token-${++tickets}`, urls: ['ws://a/play', 'ws://b/play'] }),
    WebSocket: network.socketClass,
    now: () => network.now,
    random: () => 0,
    ...options,
  })
  /** @type {string[]} */
  const states = []
  client.on('state', (state) => states.push(state))
  return { network, client, states, tickets: () => tickets }
}

/** The pending promise of the ticket is settled. */
const settled = () => new Promise((resolve) => setImmediate(resolve))

test('connect, play, lose the gateway, resume at the other one', async (t) => {
  const { network, client, states, tickets } = start(t)
  await settled()
  assert.equal(network.socket.url, 'ws://a/play')
  assert.equal(client.send('Steer', [0, 1]), false)
  network.open()
  assert.deepEqual(states, ['greeting', 'playing'])
  assert.ok(client.send('Steer', { turn: 1, thrust: 1 }))
  network.lose(1006)
  assert.equal(client.state, 'lost')
  assert.ok(client.send('Steer', { turn: 0, thrust: 1 }))
  t.mock.timers.tick(1)
  await settled()
  assert.equal(network.socket.url, 'ws://b/play')
  network.open()
  assert.equal(client.state, 'playing')
  assert.equal(client.session.stats.resumes, 1)
  network.gateway.tick(4)
  network.deliver()
  const [session] = network.gateway.sessions.values()
  assert.deepEqual(session.applied.map((input) => input.values), [[1, 1], [0, 1]]) // prettier-ignore
  assert.equal(client.numbers().inputs_pending, 0)
  assert.equal(tickets(), 1)
  client.bye()
  assert.deepEqual(network.socket.closedWith, [1000])
  assert.equal(client.state, 'over')
})

test('frames reach the listeners after the mirror took them', async (t) => {
  const { network, client } = start(t)
  await settled()
  network.open()
  /** @type {any[]} */
  const heard = []
  client.on('frame', (_, seen) => heard.push(client.mirror.size, seen.length))
  client.on('notice', (notice) => heard.push(notice.text))
  const keyframe = { cell: 0, kind: 0, added: [5], columns: [1, 2, 0, 0, 9, 100] }
  network.give({
    heads: [{ shard: 0, epoch: 3, tick: 8 }],
    views: [{ entered: [0] }],
    keyframes: [keyframe],
    owns: [{ entity: 5, kind: 0, values: [1] }],
    notices: [{ code: 3, text: 'hello all' }],
  })
  assert.deepEqual(heard, ['hello all', 1, 1])
  const numbers = client.numbers()
  assert.deepEqual([numbers.tick, numbers.epoch, numbers.shard, numbers.entities, numbers.tick_interval_ms], [8, 3, 0, 1, 50])
  client.close()
})

test('a frame that makes no sense closes the socket and a resume mends it', async (t) => {
  const { network, client } = start(t)
  await settled()
  network.open()
  const broken = network.socket
  network.give({ heads: [{ shard: 99 }] })
  assert.deepEqual(broken.closedWith, [3001])
  assert.equal(client.state, 'lost')
  assert.equal(client.session.stats.errors, 1)
  t.mock.timers.tick(10_000)
  await settled()
  network.open()
  assert.equal(client.state, 'playing')
  network.socket.onmessage({ data: 'text' })
  assert.equal(client.state, 'lost')
  client.close()
})

test('a refused token is fetched anew', async (t) => {
  const { network, client, tickets } = start(t)
  await settled()
  network.open()
  network.lose(4003)
  t.mock.timers.tick(10_000)
  await settled()
  assert.equal(tickets(), 2)
  client.close()
})

test('tickets that fail are tried again, and in the end the client gives up', async (t) => {
  const { client } = start(t, { ticket: () => Promise.reject(new Error('the page is offline')) })
  let reason = ''
  client.on('state', (_, decision) => (reason = decision?.reason ?? reason))
  for (let i = 0; i < 200 && client.state !== 'over'; i++) {
    await settled()
    t.mock.timers.tick(20_000)
  }
  assert.equal(client.state, 'over')
  assert.equal(reason, 'the page is offline')
})

test('no WebSocket at all is said in words', async (t) => {
  const { client } = start(t, { WebSocket: undefined })
  let reason = ''
  client.on('state', (_, decision) => (reason = decision?.reason ?? reason))
  await settled()
  if (!('WebSocket' in globalThis)) assert.match(reason, /no WebSocket here/)
  client.close()
})

test('a silent server is left for the other one', async (t) => {
  const { network, client } = start(t)
  await settled()
  network.open()
  for (let i = 0; i < 200 && client.state === 'playing'; i++) {
    network.now += 50
    t.mock.timers.tick(50)
  }
  assert.deepEqual(network.sockets[0].closedWith, [3002])
  t.mock.timers.tick(1)
  await settled()
  assert.equal(network.socket.url, 'ws://b/play')
  assert.equal(client.session.welcome?.world, WELCOME.world)
  client.close()
})

test('a light client plays and keeps no picture', async (t) => {
  const { network, client } = start(t, { light: true })
  await settled()
  network.open()
  const head = { shard: 0, epoch: 1, tick: 5 }
  const keyframe = { cell: 0, kind: 0, added: [7], columns: [1, 2, 3, 4, 5, 6] }
  network.give({ heads: [head], views: [{ entered: [0] }], keyframes: [keyframe], owns: [{ entity: 7, kind: 0, values: [3] }] })
  const { state, tick, entities, cells } = client.numbers()
  assert.deepEqual([state, tick, entities, cells], ['playing', 5, 0, 0])
  assert.deepEqual(client.mirror.ownValues, { ammo: 3 })
  assert.ok(client.send('Steer', { turn: 1, thrust: 0 }))
  assert.throws(() => client.predict(/** @type {any} */ ({})), /light client/)
})
