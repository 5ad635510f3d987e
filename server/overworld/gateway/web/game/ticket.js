/** A guest's ticket: who we are and where to connect. And the name used last. */

const NAME_KEY = 'overworld.name'
const ANSWER_MS_MAX = 8000

/** @typedef {{token: string, player: string | number, url?: string, urls?: string[], title: string}} Ticket */

/**
 * @param {string} name as typed, may be empty
 * @returns {Promise<Ticket>}
 */
export async function fetchTicket(name) {
  const response = await fetch('/api/guest', {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(name ? { name } : {}),
    signal: AbortSignal.timeout(ANSWER_MS_MAX),
  })
  if (!response.ok) {
    const words = response.status === 429 ? 'Too many visits from your address. Try again in a minute.' : await reasonOf(response)
    throw new Error(words)
  }
  return response.json()
}

/** @param {Response} response */
async function reasonOf(response) {
  const text = (await response.text()).slice(0, 200)
  try {
    const { error, message } = JSON.parse(text)
    return String(message ?? error ?? `the server answered ${response.status}`)
  } catch {
    return `the server answered ${response.status}`
  }
}

/** @returns {string} the name used last */
export function rememberedName() {
  try {
    return localStorage.getItem(NAME_KEY) ?? ''
  } catch {
    return ''
  }
}

/** @param {string} name */
export function rememberName(name) {
  try {
    localStorage.setItem(NAME_KEY, name)
  } catch {
    // A browser that keeps nothing: the name is asked again next time.
  }
}
