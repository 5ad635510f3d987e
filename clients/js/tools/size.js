/** Prints how large the client is for a browser, as JSON: everything that index.js exports, bundled and minified by esbuild, and gzipped. */

import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { build } from 'esbuild'

const { outputFiles } = await build({
  entryPoints: [fileURLToPath(new URL('../src/index.js', import.meta.url))],
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  write: false,
})
const bundle = outputFiles[0].contents
console.log(JSON.stringify({ minified_bytes: bundle.length, gzipped_bytes: gzipSync(bundle, { level: 9 }).length }))
