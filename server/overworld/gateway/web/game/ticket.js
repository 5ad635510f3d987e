/**
 * A guest's ticket: who we are and where to connect. The server's pass makes this browser the same guest on its next visit, with the
 * score it had. A second window is a guest of its own, for as long as it stays open.
 */

const NAME_KEY = 'overworld.name'
const PASS_KEY = 'overworld.pass'
const LOCK = 'overworld.guest'
const ANSWER_MS_MAX = 8000

/** @typedef {{token: string, pass?: string, player: string, url?: string, urls?: string[], title: string}} Ticket */

/** @type {Promise<Storage | null> | null} */
let place = null

/**
 * @returns {Promise<Ticket>}
 * @throws {Error} with words for the player
 */
export async function fetchTicket() {
  place ??= passPlace()
  const kept = await place
  const pass = read(kept, PASS_KEY)
  const response = await fetch('/api/guest', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(pass ? { pass } : {}),
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
  })
  if (!response.ok) throw new Error(await reasonOf(response))
  const ticket = await response.json()
  if (ticket.pass) write(kept, PASS_KEY, ticket.pass)
  return ticket
}

/** @returns {string} the name used last */
export const rememberedName = () => read(storage('localStorage'), NAME_KEY)

/** @param {string} name */
export const rememberName = (name) => write(storage('localStorage'), NAME_KEY, name)

/** Where this window's pass is kept: the browser's for the first window, the window's own for others. @returns {Promise<Storage | null>} */
async function passPlace() {
  if (!navigator.locks) return storage('localStorage')
  const first = await new Promise((resolve) => {
    // Held until the window closes.
    void navigator.locks.request(LOCK, { ifAvailable: true }, (lock) => {
      resolve(lock !== null)
      return lock ? new Promise(() => {}) : undefined
    })
  })
  return storage(first ? 'localStorage' : 'sessionStorage')
}

/** @param {'localStorage' | 'sessionStorage'} kind @returns {Storage | null} null where the browser keeps nothing */
function storage(kind) {
  try {
    return window[kind]
  } catch {
    return null
  }
}

/** @param {Storage | null} kept @param {string} key */
function read(kept, key) {
  return kept?.getItem(key) ?? ''
}

/** @param {Storage | null} kept @param {string} key @param {string} value */
function write(kept, key, value) {
  try {
    kept?.setItem(key, value)
  } catch {
    // No room: next time we are somebody new.
  }
}

/** @param {Response} response @returns {Promise<string>} */
async function reasonOf(response) {
  try {
    return String(JSON.parse((await response.text()).slice(0, 500)).error ?? `the server answered ${response.status}`)
  } catch {
    return `the server answered ${response.status}`
  }
}
