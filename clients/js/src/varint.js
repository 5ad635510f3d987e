/**
 * The protobuf wire format, as much of it as the Overworld protocol uses: varints, length-delimited fields, and skipping
 * whatever else a newer server may send. Every read is bounds-checked and throws {@link WireError}; nothing is read past
 * the end of the message it belongs to.
 */

/** Bytes that are not what the protocol says. */
export class WireError extends Error {
  /** @param {string} message */
  constructor(message) {
    super(message)
    this.name = 'WireError'
  }
}

const VARINT = 0
const FIXED64 = 1
const DELIMITED = 2
const GROUP_START = 3
const GROUP_END = 4
const FIXED32 = 5

/** Unknown groups may nest this deep, as in the official libraries; hostile bytes may not exhaust the stack. */
const GROUP_DEPTH_MAX = 100

const utf8 = new TextDecoder('utf-8', { fatal: true })
const utf8Encoder = new TextEncoder()

/** Reads one message, field by field. */
export class Reader {
  /**
   * @param {Uint8Array} bytes
   * @param {number} [start]
   * @param {number} [end]
   */
  constructor(bytes, start = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = start
    this.end = end
    /** Number of the field that `next` found. */
    this.field = 0
    this.wireType = 0
  }

  /** Moves to the next field and reads its tag. @returns {boolean} false at the end of the message */
  next() {
    if (this.at >= this.end) return false
    const tag = this.uint32()
    this.field = tag >>> 3
    this.wireType = tag & 7
    if (this.field === 0) throw new WireError('field number 0')
    return true
  }

  /** @returns {number} one varint, low 32 bits, unsigned (as the official libraries cut longer ones) */
  uint32() {
    const bytes = this.bytes
    let value = 0
    for (let i = 0; i < 10; i++) {
      if (this.at >= this.end) throw new WireError('truncated varint')
      const byte = bytes[this.at++]
      if (i < 5) value |= (byte & 0x7f) << (7 * i)
      if (byte < 0x80) return value >>> 0
    }
    throw new WireError('varint longer than 10 bytes')
  }

  /** @returns {number} zigzag, 32 bits */
  sint32() {
    const n = this.uint32()
    return (n >>> 1) ^ -(n & 1)
  }

  /** @returns {number} an unsigned 64-bit value, which must fit a JavaScript number exactly */
  uint53() {
    const bytes = this.bytes
    let value = 0
    let scale = 1
    for (let i = 0; i < 10; i++) {
      if (this.at >= this.end) throw new WireError('truncated varint')
      const byte = bytes[this.at++]
      value += (byte & 0x7f) * scale
      if (byte < 0x80) {
        if (value > Number.MAX_SAFE_INTEGER) throw new WireError('number above 2^53 - 1')
        return value
      }
      scale *= 128
    }
    throw new WireError('varint longer than 10 bytes')
  }

  /** @returns {string} an unsigned 64-bit value in decimal */
  uint64() {
    const bytes = this.bytes
    let value = 0n
    for (let i = 0n; i < 10n; i++) {
      if (this.at >= this.end) throw new WireError('truncated varint')
      const byte = bytes[this.at++]
      value |= BigInt(byte & 0x7f) << (7n * i)
      if (byte < 0x80) return BigInt.asUintN(64, value).toString()
    }
    throw new WireError('varint longer than 10 bytes')
  }

  /** @returns {Reader} over the bytes of a length-delimited field */
  message() {
    const length = this.uint32()
    const start = this.at
    if (length > this.end - start) throw new WireError('field runs past the end of its message')
    this.at = start + length
    return new Reader(this.bytes, start, this.at)
  }

  /** @returns {Uint8Array} a copy of a bytes field */
  blob() {
    const inner = this.message()
    return this.bytes.slice(inner.at, inner.end)
  }

  /** @returns {string} */
  string() {
    const inner = this.message()
    try {
      return utf8.decode(this.bytes.subarray(inner.at, inner.end))
    } catch {
      throw new WireError('text is not UTF-8')
    }
  }

  /** Appends the values of a repeated field, packed or not. @param {number[]} out */
  uint32s(out) {
    if (this.wireType === VARINT) return void out.push(this.uint32())
    const inner = this.message()
    while (inner.at < inner.end) out.push(inner.uint32())
  }

  /** Appends the values of a repeated field, packed or not. @param {number[]} out */
  sint32s(out) {
    if (this.wireType === VARINT) return void out.push(this.sint32())
    const inner = this.message()
    while (inner.at < inner.end) out.push(inner.sint32())
  }

  /** Appends the values of a repeated field, packed or not. @param {number[]} out */
  uint53s(out) {
    if (this.wireType === VARINT) return void out.push(this.uint53())
    const inner = this.message()
    while (inner.at < inner.end) out.push(inner.uint53())
  }

  /** @returns {boolean} whether the field found is a varint */
  get isVarint() {
    return this.wireType === VARINT
  }

  /** @returns {boolean} whether the field found is length-delimited */
  get isDelimited() {
    return this.wireType === DELIMITED
  }

  /** Passes over the value of a field nobody asked for. @param {number} [depth] */
  skip(depth = 0) {
    switch (this.wireType) {
      case VARINT:
        this.uint32()
        return
      case FIXED64:
        this.#pass(8)
        return
      case DELIMITED:
        this.message()
        return
      case GROUP_START:
        this.#skipGroup(this.field, depth)
        return
      case FIXED32:
        this.#pass(4)
        return
      default:
        throw new WireError(`wire type ${this.wireType}`)
    }
  }

  /** @param {number} count */
  #pass(count) {
    if (count > this.end - this.at) throw new WireError('field runs past the end of its message')
    this.at += count
  }

  /**
   * @param {number} group
   * @param {number} depth
   */
  #skipGroup(group, depth) {
    if (depth >= GROUP_DEPTH_MAX) throw new WireError('groups nested too deep')
    while (this.next()) {
      if (this.wireType === GROUP_END) {
        if (this.field !== group) throw new WireError('group ends that did not start')
        return
      }
      this.skip(depth + 1)
    }
    throw new WireError('group without end')
  }
}

/** Writes one message into a growing buffer. Fields at their default are left to the caller to leave out. */
export class Writer {
  #bytes = new Uint8Array(64)
  #length = 0

  /** @param {number} field @param {number} value @returns {this} */
  uint32(field, value) {
    this.#varint((field << 3) | VARINT)
    this.#varint(value >>> 0)
    return this
  }

  /** @param {number} field @param {readonly number[]} values @returns {this} */
  sint32s(field, values) {
    if (!values.length) return this
    const inner = new Writer()
    for (const value of values) inner.#varint(((value << 1) ^ (value >> 31)) >>> 0)
    return this.blob(field, inner.finish())
  }

  /** @param {number} field @param {string} value @returns {this} */
  string(field, value) {
    return this.blob(field, utf8Encoder.encode(value))
  }

  /** @param {number} field @param {Uint8Array} value @returns {this} */
  blob(field, value) {
    this.#varint((field << 3) | DELIMITED)
    this.#varint(value.length)
    this.#reserve(value.length)
    this.#bytes.set(value, this.#length)
    this.#length += value.length
    return this
  }

  /** @returns {Uint8Array<ArrayBuffer>} */
  finish() {
    return this.#bytes.slice(0, this.#length)
  }

  /** @param {number} value unsigned, 32 bits */
  #varint(value) {
    this.#reserve(5)
    while (value > 0x7f) {
      this.#bytes[this.#length++] = (value & 0x7f) | 0x80
      value >>>= 7
    }
    this.#bytes[this.#length++] = value
  }

  /** @param {number} count */
  #reserve(count) {
    const wanted = this.#length + count
    if (wanted <= this.#bytes.length) return
    const grown = new Uint8Array(Math.max(wanted, this.#bytes.length * 2))
    grown.set(this.#bytes)
    this.#bytes = grown
  }
}
