// The workload roam, the same rule for every Node server: avatars go straight on at one speed and bounce at walls; an
// input is a new heading. Positions are whole numbers, 16 to a unit, so that they fit 16 bits.

export const TICK_MS = 50;
export const CELL = 64 * 16;
/** A view is the own cell and one more to each side: 9 cells. */
export const REACH = 1;
const STEP = (20 * 16) / 20;

export class Roam {
  /** @param {number} side cells across the world */
  constructor(side) {
    this.side = side;
    this.edge = side * CELL - 1;
    /** @type {Avatar[]} */
    this.avatars = [];
    /** @type {Set<Avatar>[]} avatars by cell */
    this.cells = Array.from({ length: side * side }, () => new Set());
  }

  add(avatar) {
    avatar.place = this.avatars.push(avatar) - 1;
    this.cells[avatar.cell].add(avatar);
  }

  remove(avatar) {
    const last = this.avatars.pop();
    if (last !== avatar) {
      this.avatars[avatar.place] = last;
      last.place = avatar.place;
    }
    this.cells[avatar.cell].delete(avatar);
  }

  spawn() {
    const x = Math.floor(Math.random() * this.edge);
    const y = Math.floor(Math.random() * this.edge);
    return new Avatar(x, y, this.cellOf(x, y));
  }

  cellOf(x, y) {
    return Math.floor(y / CELL) * this.side + Math.floor(x / CELL);
  }

  /** Advance everybody; `crossed(avatar, before)` is told of each that enters another cell. */
  step(crossed) {
    for (const avatar of this.avatars) {
      avatar.go(this.edge);
      const cell = this.cellOf(avatar.x, avatar.y);
      if (cell !== avatar.cell) {
        const before = avatar.cell;
        this.cells[before].delete(avatar);
        this.cells[cell].add(avatar);
        avatar.cell = cell;
        crossed(avatar, before);
      }
    }
  }

  /** Calls `row(first, last)` with the cells of each row of the view from `cell`. */
  view(cell, row) {
    const cx = cell % this.side;
    const cy = Math.floor(cell / this.side);
    const x0 = Math.max(0, cx - REACH);
    const x1 = Math.min(this.side - 1, cx + REACH);
    for (let y = Math.max(0, cy - REACH); y <= Math.min(this.side - 1, cy + REACH); y++) {
      row(y * this.side + x0, y * this.side + x1);
    }
  }

  sees(cell, other) {
    const side = this.side;
    return (
      Math.abs((cell % side) - (other % side)) <= REACH &&
      Math.abs(Math.floor(cell / side) - Math.floor(other / side)) <= REACH
    );
  }

  /** Avatars in a view, on average. */
  inView() {
    let sum = 0;
    for (const avatar of this.avatars) {
      this.view(avatar.cell, (first, last) => {
        for (let cell = first; cell <= last; cell++) sum += this.cells[cell].size;
      });
    }
    return sum / Math.max(1, this.avatars.length);
  }
}

class Avatar {
  constructor(x, y, cell) {
    this.x = x;
    this.y = y;
    this.vx = 0;
    this.vy = 0;
    this.angle = 0;
    this.cell = cell;
    this.place = 0;
    this.seq = 0;
    this.told = 0;
  }

  head(angle) {
    this.angle = angle;
    this.vx = Math.round(STEP * Math.cos((angle * Math.PI) / 128));
    this.vy = Math.round(STEP * Math.sin((angle * Math.PI) / 128));
  }

  go(edge) {
    this.x += this.vx;
    this.y += this.vy;
    if (this.x < 0 || this.x > edge) {
      this.x = this.x < 0 ? -this.x : 2 * edge - this.x;
      this.vx = -this.vx;
    }
    if (this.y < 0 || this.y > edge) {
      this.y = this.y < 0 ? -this.y : 2 * edge - this.y;
      this.vy = -this.vy;
    }
  }
}

/** Calls `tick` 20 times a second, late ones at once, and never earlier than due. */
export function everyTick(tick) {
  let due = performance.now() + TICK_MS;
  const next = () => {
    tick();
    due = Math.max(due + TICK_MS, performance.now() - 4 * TICK_MS);
    setTimeout(next, Math.max(0, due - performance.now()));
  };
  setTimeout(next, TICK_MS);
}

/** Says once a second how many play and what they see, for whoever started this. */
export function tell(roam) {
  setInterval(() => {
    const inView = Math.round(roam.inView() * 10) / 10;
    console.log(JSON.stringify({ clients: roam.avatars.length, inView }));
  }, 5000).unref();
}

/** `--name value` pairs of the command line. */
export function options() {
  const given = {};
  for (let i = 2; i + 1 < process.argv.length; i += 2) given[process.argv[i].slice(2)] = process.argv[i + 1];
  return given;
}
