/** Generated from `proto/overworld/wire/v1/client.proto` by `make proto`: do not edit. */

/** @typedef {'uint32' | 'sint32' | 'uint53' | 'uint64' | 'bool' | 'string' | 'blob' | 'uint32s' | 'sint32s' | 'uint53s'} Scalar */

/** Field numbers and types by name. @typedef {{[name: string]: [number, Scalar | Table, 'many'?]}} Table */

/** @typedef {{protocol: number, title: string, token: string, resume: Uint8Array, client: string}} Hello */
export const HELLO = /** @satisfies {Table} */ (/** @type {const} */ ({
  protocol: [1, 'uint32'],
  title: [2, 'string'],
  token: [3, 'string'],
  resume: [4, 'blob'],
  client: [5, 'string'],
}))

/** @typedef {{seq: number, kind: number, values: number[], seen_tick: number, due_tick: number}} Input */
export const INPUT = /** @satisfies {Table} */ (/** @type {const} */ ({
  seq: [1, 'uint32'],
  kind: [2, 'uint32'],
  values: [3, 'sint32s'],
  seen_tick: [4, 'uint32'],
  due_tick: [5, 'uint32'],
}))

/** @typedef {{nonce: number}} Ping */
export const PING = /** @satisfies {Table} */ (/** @type {const} */ ({
  nonce: [1, 'uint32'],
}))

/** @typedef {Record<string, never>} Bye */
export const BYE = /** @satisfies {Table} */ (/** @type {const} */ ({}))

/** @typedef {{shard: number, epoch: number, tick: number, tick_interval_us: number}} TickHead */
export const TICK_HEAD = /** @satisfies {Table} */ (/** @type {const} */ ({
  shard: [1, 'uint32'],
  epoch: [2, 'uint32'],
  tick: [3, 'uint32'],
  tick_interval_us: [4, 'uint32'],
}))

/** @typedef {{cell: number, kind: number, removed: number[], added: number[], columns: number[], changed: number[], restated: number[]}} Cell */
export const CELL = /** @satisfies {Table} */ (/** @type {const} */ ({
  cell: [1, 'uint32'],
  kind: [2, 'uint32'],
  removed: [3, 'uint32s'],
  added: [4, 'uint53s'],
  columns: [5, 'sint32s'],
  changed: [6, 'sint32s'],
  restated: [7, 'sint32s'],
}))

/** @typedef {{entered: number[], left: number[]}} View */
export const VIEW = /** @satisfies {Table} */ (/** @type {const} */ ({
  entered: [1, 'uint32s'],
  left: [2, 'uint32s'],
}))

/** @typedef {{seq: number, shard: number, tick: number}} Ack */
export const ACK = /** @satisfies {Table} */ (/** @type {const} */ ({
  seq: [1, 'uint32'],
  shard: [2, 'uint32'],
  tick: [3, 'uint32'],
}))

/** @typedef {{entity: number, kind: number, values: number[]}} Own */
export const OWN = /** @satisfies {Table} */ (/** @type {const} */ ({
  entity: [1, 'uint53'],
  kind: [2, 'uint32'],
  values: [3, 'sint32s'],
}))

/** @typedef {{cells_x: number, cells_y: number, cell_size: number, shards_x: number, shards_y: number, view: number}} Grid */
export const GRID = /** @satisfies {Table} */ (/** @type {const} */ ({
  cells_x: [1, 'uint32'],
  cells_y: [2, 'uint32'],
  cell_size: [3, 'uint32'],
  shards_x: [4, 'uint32'],
  shards_y: [5, 'uint32'],
  view: [6, 'uint32'],
}))

/** @typedef {{name: string, modulo: number, units_per_one: number}} Column */
export const COLUMN = /** @satisfies {Table} */ (/** @type {const} */ ({
  name: [1, 'string'],
  modulo: [2, 'uint32'],
  units_per_one: [3, 'uint32'],
}))

/** @typedef {{name: string, min: number, max: number}} InputField */
export const INPUT_FIELD = /** @satisfies {Table} */ (/** @type {const} */ ({
  name: [1, 'string'],
  min: [2, 'sint32'],
  max: [3, 'sint32'],
}))

/** @typedef {{message_bytes_max: number, messages_per_second_max: number, idle_seconds_max: number}} Limits */
export const LIMITS = /** @satisfies {Table} */ (/** @type {const} */ ({
  message_bytes_max: [1, 'uint32'],
  messages_per_second_max: [2, 'uint32'],
  idle_seconds_max: [3, 'uint32'],
}))

/** @typedef {{nonce: number, server_time_us: number}} Pong */
export const PONG = /** @satisfies {Table} */ (/** @type {const} */ ({
  nonce: [1, 'uint32'],
  server_time_us: [2, 'uint53'],
}))

/** @typedef {{code: number, text: string}} Notice */
export const NOTICE = /** @satisfies {Table} */ (/** @type {const} */ ({
  code: [1, 'uint32'],
  text: [2, 'string'],
}))

/** @typedef {{hello: Hello, input: Input, ping: Ping, bye: Bye}} ClientMessage */
export const CLIENT_MESSAGE = /** @satisfies {Table} */ (/** @type {const} */ ({
  hello: [1, HELLO],
  input: [2, INPUT],
  ping: [3, PING],
  bye: [4, BYE],
}))

/** @typedef {{name: string, columns: Column[], owner_columns: Column[], moves: boolean}} Kind */
export const KIND = /** @satisfies {Table} */ (/** @type {const} */ ({
  name: [1, 'string'],
  columns: [2, COLUMN, 'many'],
  owner_columns: [3, COLUMN, 'many'],
  moves: [4, 'bool'],
}))

/** @typedef {{name: string, fields: InputField[]}} InputKind */
export const INPUT_KIND = /** @satisfies {Table} */ (/** @type {const} */ ({
  name: [1, 'string'],
  fields: [2, INPUT_FIELD, 'many'],
}))

/** @typedef {{protocol: number, world: string, title: string, title_version: number, contract: string, session: string, resume: Uint8Array, grid: Grid, tick_interval_us: number, kinds: Kind[], inputs: InputKind[], commit_level: number, limits: Limits, last_seq: number, definitions: string}} Welcome */
export const WELCOME = /** @satisfies {Table} */ (/** @type {const} */ ({
  protocol: [1, 'uint32'],
  world: [2, 'string'],
  title: [3, 'string'],
  title_version: [4, 'uint32'],
  contract: [5, 'string'],
  session: [6, 'uint64'],
  resume: [7, 'blob'],
  grid: [8, GRID],
  tick_interval_us: [9, 'uint32'],
  kinds: [10, KIND, 'many'],
  inputs: [11, INPUT_KIND, 'many'],
  commit_level: [12, 'uint32'],
  limits: [13, LIMITS],
  last_seq: [14, 'uint32'],
  definitions: [15, 'string'],
}))

/** @typedef {{heads: TickHead[], updates: Cell[], keyframes: Cell[], views: View[], acks: Ack[], owns: Own[], welcomes: Welcome[], pongs: Pong[], notices: Notice[]}} Frame */
export const FRAME = /** @satisfies {Table} */ (/** @type {const} */ ({
  heads: [1, TICK_HEAD, 'many'],
  updates: [2, CELL, 'many'],
  keyframes: [3, CELL, 'many'],
  views: [4, VIEW, 'many'],
  acks: [5, ACK, 'many'],
  owns: [6, OWN, 'many'],
  welcomes: [7, WELCOME, 'many'],
  pongs: [8, PONG, 'many'],
  notices: [9, NOTICE, 'many'],
}))

export const NOTICE_CODES = { STALLED: 1, RESUMED: 2, BROADCAST: 3, DRAINING: 4, SEARCHING: 5, QUEUED: 6 }
