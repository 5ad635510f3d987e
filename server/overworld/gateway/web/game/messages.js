/** One line of words over the game: what is wrong with the connection, what the server says, what just happened to the ship. */

import { NoticeCode } from '/js/index.js'

/** @typedef {'calm' | 'warn' | 'bad'} Tone */
/** @typedef {{text: string, tone: Tone, until_ms: number}} Line */

/** What to tell the player when the server ends the session. @type {Record<number, string>} */
const ENDINGS = {
  4001: 'You are flying in another window. This one has let go.',
  4003: 'The server did not accept this visit. Please fly again.',
  4004: 'This server does not run Frontier.',
  4005: 'This page is older than the server. Please reload it.',
  4012: 'You were asked to leave.',
}

/** @param {number} code @param {string} reason @returns {string} */
export function endingOf(code, reason) {
  const words = ENDINGS[code] ?? 'The connection ended.'
  return reason ? `${words} (${code}: ${reason})` : words
}

/** See the module. Of several lines the most urgent shows: connection, then world, then the moment. */
export class Messages {
  #element
  /** @type {Map<'connection' | 'world' | 'moment', Line>} */ #lines = new Map()
  #shown = ''

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element
  }

  /**
   * @param {'connection' | 'world' | 'moment'} topic
   * @param {string} text empty takes it away
   * @param {Tone} [tone]
   * @param {number} [for_ms]
   */
  say(topic, text, tone = 'calm', for_ms = Infinity) {
    if (text) this.#lines.set(topic, { text, tone, until_ms: performance.now() + for_ms })
    else this.#lines.delete(topic)
    this.refresh()
  }

  /** @param {import('/js/wire.js').Notice} notice */
  notice({ code, text }) {
    switch (code) {
      case NoticeCode.STALLED:
        this.say('world', 'The world stands still for a moment, so that nothing is lost. It goes on by itself.', 'warn')
        break
      case NoticeCode.QUEUED:
        this.say('world', 'The world is full now. You are in the queue…', 'warn')
        break
      case NoticeCode.SEARCHING:
        this.say('world', 'Looking for the server of this part of the world…', 'warn')
        break
      case NoticeCode.DRAINING:
        this.say('world', 'This gateway is closing. You will be moved to another one…', 'warn', 8000)
        break
      case NoticeCode.RESUMED:
        this.say('world', 'The world goes on.', 'calm', 2500)
        break
      case NoticeCode.BROADCAST:
        this.say('world', text, 'calm', 9000)
        break
    }
  }

  /** Call now and then: lines go when their time is over. */
  refresh() {
    const now_ms = performance.now()
    for (const [topic, line] of this.#lines) if (line.until_ms <= now_ms) this.#lines.delete(topic)
    const line = this.#lines.get('connection') ?? this.#lines.get('world') ?? this.#lines.get('moment')
    const key = line ? `${line.tone} ${line.text}` : ''
    if (key === this.#shown) return
    this.#shown = key
    this.#element.className = line ? `shown ${line.tone}` : ''
    if (line) this.#element.textContent = line.text
  }
}
