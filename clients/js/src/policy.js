/**
 * What a client does when a socket closes: the table "Close codes" of proto/README.md as data, and how long to wait. Pure.
 */

/**
 * @typedef {'never' | 'now' | 'backoff' | 'later'} When `now`: at once the first time, then as `backoff`; `later`: seconds, not
 *   milliseconds, for the server said that it has no room
 * @typedef {{name: string, when: When, resume: boolean, freshToken?: boolean, elsewhere?: boolean}} ClosePolicy
 */

/** We close with this ourselves when a frame makes no sense to us; a resume starts the picture anew. */
export const CLOSE_BROKEN_PICTURE = 3001
/** We close with this ourselves when nothing has come for too long. */
export const CLOSE_SILENT_SERVER = 3002
/** We close with this ourselves when the server accepts a socket and then says nothing. */
export const CLOSE_NO_WELCOME = 3003

/** @type {ReadonlyMap<number, ClosePolicy>} */
export const CLOSE_POLICY = new Map([
  [1000, { name: 'bye', when: 'never', resume: false }],
  [1002, { name: 'protocol error', when: 'never', resume: false }],
  [1003, { name: 'not binary', when: 'never', resume: false }],
  [1007, { name: 'bad message', when: 'never', resume: false }],
  [1008, { name: 'policy', when: 'later', resume: true }],
  [1009, { name: 'too big', when: 'never', resume: false }],
  [1012, { name: 'restarting', when: 'now', resume: true, elsewhere: true }],
  [1013, { name: 'try later', when: 'later', resume: true, elsewhere: true }],
  [CLOSE_BROKEN_PICTURE, { name: 'broken picture', when: 'backoff', resume: true }],
  [CLOSE_SILENT_SERVER, { name: 'silent server', when: 'now', resume: true, elsewhere: true }],
  [CLOSE_NO_WELCOME, { name: 'no welcome', when: 'backoff', resume: true, elsewhere: true }],
  [4001, { name: 'replaced', when: 'never', resume: false }],
  [4002, { name: 'hello expected', when: 'never', resume: false }],
  [4003, { name: 'not authorised', when: 'backoff', resume: true, freshToken: true }],
  [4004, { name: 'unknown title', when: 'never', resume: false }],
  [4005, { name: 'protocol version', when: 'never', resume: false }],
  [4006, { name: 'bad input', when: 'never', resume: false }],
  [4007, { name: 'input gap', when: 'now', resume: true }],
  // A login token counts once, and the one that began this session has been used.
  [4008, { name: 'session over', when: 'now', resume: false, freshToken: true }],
  [4009, { name: 'world unavailable', when: 'later', resume: true, elsewhere: true }],
  [4010, { name: 'silent', when: 'now', resume: true, elsewhere: true }],
  [4011, { name: 'too slow', when: 'backoff', resume: true }],
  [4012, { name: 'kicked', when: 'never', resume: false }],
])

/** Sockets that broke without a word (1006), servers that failed (1011), proxies in between. */
const LOST = Object.freeze({ name: 'lost', when: /** @type {When} */ ('now'), resume: true, elsewhere: true })

/** A code of the protocol that this version does not know is a decision about us. */
const UNKNOWN = Object.freeze({ name: 'ended by the server', when: /** @type {When} */ ('never'), resume: false })

/** @param {number} code @returns {ClosePolicy} */
export function policyOf(code) {
  return CLOSE_POLICY.get(code) ?? (code >= 4000 ? UNKNOWN : LOST)
}

export const BACKOFF_MS_MIN = 250
export const BACKOFF_MS_MAX = 10_000
const LATER_MS = 5_000
const LATER_MS_MAX = 60_000

/**
 * How long to wait before the next socket.
 *
 * @param {When} when
 * @param {number} attempt failures in a row before this one, 0 for the first
 * @param {string} reason the close reason; "try later" says in it for how many seconds
 * @param {number} chance 0..1: clients that lost the same server must not all come back at once
 * @returns {number} ms
 */
export function delayOf(when, attempt, reason, chance) {
  if (when === 'now' && attempt === 0) return 0
  const backoff_ms = Math.min(BACKOFF_MS_MAX, BACKOFF_MS_MIN * 2 ** Math.min(attempt, 16)) * (0.5 + 0.5 * chance)
  if (when !== 'later') return backoff_ms
  const said = /(\d{1,4}(?:\.\d+)?)\s*(ms|s|sec|seconds?)\b/.exec(reason)
  const asked_ms = said ? Number(said[1]) * (said[2] === 'ms' ? 1 : 1000) : LATER_MS
  return Math.max(backoff_ms, Math.min(asked_ms, LATER_MS_MAX) * (1 + 0.25 * chance))
}
