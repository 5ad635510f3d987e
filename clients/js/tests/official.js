/** The protocol's messages as the official description says them, through a stock protobuf library. */

import { fileURLToPath } from 'node:url'
import protobuf from 'protobufjs'

const root = protobuf.loadSync(fileURLToPath(new URL('../../../proto/overworld/wire/v1/client.proto', import.meta.url)))

/** @param {string} name */
function messageType(name) {
  const type = root.lookupType(`overworld.wire.v1.${name}`)
  type.resolveAll()
  return type
}

export const FrameType = messageType('Frame')
export const ClientMessageType = messageType('ClientMessage')

/** protobufjs spells fields in camel case; the protocol and our messages do not. @param {any} value @returns {any} */
function camel(value) {
  if (Array.isArray(value)) return value.map(camel)
  if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value)) return value
  return Object.fromEntries(
    Object.entries(value).map(([k, v]) => [k.replace(/_(\w)/g, (_, c) => c.toUpperCase()), camel(v)]),
  )
}

/** @param {any} value @returns {any} */
function snake(value) {
  if (Array.isArray(value)) return value.map(snake)
  if (value === null || typeof value !== 'object' || ArrayBuffer.isView(value)) return value
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k.replace(/[A-Z]/g, (c) => '_' + c.toLowerCase()), snake(v)]))
}

/** @param {any} frame plain, with the protocol's field names; left-out fields are at their default @returns {Uint8Array<ArrayBuffer>} */
export function encodeFrame(frame) {
  return new Uint8Array(FrameType.encode(FrameType.fromObject(camel(frame))).finish())
}

/** @param {Uint8Array} bytes @returns {any} plain, with the protocol's field names, every field present */
export function officialFrame(bytes) {
  const message = FrameType.decode(bytes)
  return snake(FrameType.toObject(message, { longs: Number, defaults: true, arrays: true }))
}

/** @param {Uint8Array} bytes @returns {any} */
export function officialClientMessage(bytes) {
  return snake(ClientMessageType.toObject(ClientMessageType.decode(bytes), { longs: Number }))
}
