/** The Overworld client: everything a game or a bot in JavaScript needs, and nothing of any game. */

export { connect, Client } from './connection.js'
export { Session } from './session.js'
export { Mirror, MirrorError } from './mirror.js'
export { Lead, Predictor } from './prediction.js'
export { Interpolator } from './interpolate.js'
export { ServerClock, TickClock } from './clock.js'
export { Histogram, Stats } from './stats.js'
export { CLOSE_POLICY, policyOf } from './policy.js'
export { decodeFrame, encodeBye, encodeHello, encodeInput, encodePing, NoticeCode, PROTOCOL, WireError } from './wire.js'

/** @typedef {import('./connection.js').ConnectOptions} ConnectOptions */
/** @typedef {import('./connection.js').Ticket} Ticket */
/** @typedef {import('./session.js').SessionState} SessionState */
/** @typedef {import('./session.js').CloseDecision} CloseDecision */
/** @typedef {import('./mirror.js').Entity} Entity */
/** @typedef {import('./mirror.js').KindTable} KindTable */
/** @typedef {import('./mirror.js').RemoveReason} RemoveReason */
/** @typedef {import('./mirror.js').TickSeen} TickSeen */
/** @typedef {import('./interpolate.js').Placed} Placed */
/** @typedef {import('./prediction.js').Prediction} Prediction */
/** @typedef {import('./prediction.js').Rule} Rule */
/** @typedef {import('./wire.js').Frame} Frame */
/** @typedef {import('./wire.js').Welcome} Welcome */
/** @typedef {import('./wire.js').Notice} Notice */
