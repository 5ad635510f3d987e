/** The Overworld client: everything a game or a bot in JavaScript needs, and nothing of any game. */

export { connect, Client } from './connection.js'
export { Session } from './session.js'
export { Mirror, MirrorError } from './mirror.js'
export { Lead, Predictor } from './prediction.js'
export { Interpolator } from './interpolate.js'
export { ServerClock, TickClock } from './clock.js'
export { Stats } from './stats.js'
export { CLOSE_POLICY, policyOf } from './policy.js'
export { decodeFrame, encodeBye, encodeHello, encodeInput, encodePing, NoticeCode, PROTOCOL, WireError } from './wire.js'
