/** The F3 overlay: what the connection and the page measure about themselves. */

const REFRESH_MS = 250

/** How long the page's own frames take. */
export class FrameTimes {
  #work_ms = new Float32Array(120)
  #gap_ms = new Float32Array(120)
  #count = 0

  /** @param {number} work_ms spent drawing @param {number} gap_ms since the frame before */
  add(work_ms, gap_ms) {
    const i = this.#count++ % this.#work_ms.length
    this.#work_ms[i] = work_ms
    this.#gap_ms[i] = gap_ms
  }

  /** Over the last 120 frames of the page. */
  read() {
    const n = Math.min(this.#count, this.#work_ms.length)
    if (!n) return { work_ms: 0, work_ms_p95: 0, gap_ms: 0, fps: 0 }
    const work = [...this.#work_ms.subarray(0, n)].sort((a, b) => a - b)
    const gap = this.#gap_ms.subarray(0, n).reduce((a, b) => a + b, 0) / n
    const mean = work.reduce((a, b) => a + b, 0) / n
    return { work_ms: mean, work_ms_p95: work[Math.floor((n - 1) * 0.95)], gap_ms: gap, fps: gap ? 1000 / gap : 0 }
  }
}

/** See the module. */
export class Numbers {
  #element
  #refreshed_ms = -Infinity

  /** @param {HTMLElement} element */
  constructor(element) {
    this.#element = element
  }

  get shown() {
    return !this.#element.hidden
  }

  toggle() {
    this.#element.hidden = !this.#element.hidden
    this.#refreshed_ms = -Infinity
  }

  /**
   * @param {ReturnType<import('/js/index.js').Client['numbers']>} n
   * @param {ReturnType<FrameTimes['read']>} frames
   * @param {number} now_ms
   */
  update(n, frames, now_ms) {
    if (this.#element.hidden || now_ms - this.#refreshed_ms < REFRESH_MS) return
    this.#refreshed_ms = now_ms
    const rows = [
      ['ping', `${n.ping_ms.toFixed(0)} ms`],
      ['jitter', `${n.jitter_ms.toFixed(0)} ms, drawn ${n.delay_ms.toFixed(0)} ms late`],
      ['shard', `${n.shard}, epoch ${n.epoch}`],
      ['tick', `${n.tick}, every ${n.tick_interval_ms.toFixed(0)} ms`],
      ['in view', `${n.entities} entities, ${n.cells} cells`],
      ['down', `${bytes(n.bytes_in_per_second)}, ${n.frames_per_second.toFixed(0)} frames/s`],
      ['up', `${bytes(n.bytes_out_per_second)}, ${n.inputs_sent} inputs, ${n.inputs_pending} on the way`],
      ['ahead', `${n.lead_ms.toFixed(0)} ms, ${n.mispredicted} mispredicted, ${n.inputs_late} inputs late`],
      ['page', `${frames.fps.toFixed(0)} fps, ${frames.work_ms.toFixed(1)} ms (p95 ${frames.work_ms_p95.toFixed(1)})`],
      ['gateway', `${host(n.gateway)}, socket ${n.sockets}, ${n.resumes} resumed`],
      ['state', `${n.state}${n.errors ? `, ${n.errors} broken frames` : ''}`],
    ]
    this.#element.textContent = rows.map(([name, value]) => `${name.padEnd(8)} ${value}`).join('\n')
  }
}

/** @param {number} count */
function bytes(count) {
  return count < 10_000 ? `${count.toFixed(0)} B/s` : `${(count / 1000).toFixed(1)} kB/s`
}

/** @param {string} url */
function host(url) {
  return url ? new URL(url).host : '-'
}
