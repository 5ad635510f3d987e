/** Prints how large the client is for a browser: all modules of src, as they are and gzipped. */

import { readdirSync, readFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

const src = new URL('../src/', import.meta.url)
const files = readdirSync(src).filter((name) => name.endsWith('.js'))
const texts = files.map((name) => readFileSync(new URL(name, src)))
// Without comments, as any bundler would deliver it; names are left as they are.
const bare = texts.map((text) => text.toString().replace(/\/\*\*[\s\S]*?\*\//g, '').replace(/^\s*\/\/.*$/gm, ''))
const sum = (/** @type {number[]} */ numbers) => numbers.reduce((a, b) => a + b, 0)

console.log(
  JSON.stringify({
    modules: files.length,
    bytes: sum(texts.map((text) => text.length)),
    gzipped_bytes: sum(texts.map((text) => gzipSync(text).length)),
    without_comments_gzipped_bytes: gzipSync(bare.join('\n')).length,
  }),
)
