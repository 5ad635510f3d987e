// Roam on Colyseus: one room; a schema of 16-bit positions; where not everybody sees all, a StateView for each client
// that is changed only when somebody crosses a cell's border. Inputs are raw bytes, patches are sent right after the
// step, and nothing is enabled that is not needed (no input buffer, which would copy every patch to stamp it).
//
//   node colyseus.mjs --port P --side CELLS --part A|B --clients N --plan FILE
//
// Seats are reserved here, and the addresses that take them written to the plan: the load generator speaks websocket only.
import { writeFileSync } from "node:fs";
import { Encoder, StateView, schema, t } from "@colyseus/schema";
import { Room, Server, matchMaker } from "@colyseus/core";
import { WebSocketTransport } from "@colyseus/ws-transport";
import { Roam, TICK_MS, options, tell } from "./roam.mjs";

const given = options();
const filtered = given.part === "B";
const clients = Number(given.clients);
Encoder.BUFFER_SIZE = 1 << 20;

const Seen = schema({ x: t.uint16(), y: t.uint16() }, "Seen");
const State = schema({ avatars: filtered ? t.map(Seen).view() : t.map(Seen) }, "State");

class RoamRoom extends Room {
  onCreate() {
    this.autoDispose = false;
    this.maxClients = clients + 1;
    this.seatReservationTimeout = 300;
    this.patchRate = null;
    this.state = new State();
    this.roam = new Roam(Number(given.side));
    this.onMessageBytes(0, (client, bytes) => {
      const avatar = client.avatar;
      avatar.seq = bytes[0] | (bytes[1] << 8) | (bytes[2] << 16) | (bytes[3] << 24);
      avatar.head(bytes[4]);
    });
    this.setSimulationInterval(() => this.tick(), TICK_MS);
    tell(this.roam);
  }

  onJoin(client, asked) {
    const avatar = this.roam.spawn();
    client.avatar = avatar;
    avatar.client = client;
    avatar.probe = asked?.probe === true;
    avatar.seen = new Seen();
    avatar.seen.x = avatar.x;
    avatar.seen.y = avatar.y;
    this.state.avatars.set(client.sessionId, avatar.seen);
    if (filtered) client.view = new StateView();
    this.roam.add(avatar);
    if (filtered) {
      this.each(avatar.cell, (other) => {
        client.view.add(other.seen);
        if (other !== avatar) other.client.view.add(avatar.seen);
      });
    }
  }

  onLeave(client) {
    const avatar = client.avatar;
    if (filtered) {
      this.each(avatar.cell, (other) => {
        if (other !== avatar) other.client.view.remove(avatar.seen);
      });
      client.view.dispose();
    }
    this.roam.remove(avatar);
    this.state.avatars.delete(client.sessionId);
  }

  /** Calls `found` with every avatar in the view from `cell`. */
  each(cell, found) {
    this.roam.view(cell, (first, last) => {
      for (let seen = first; seen <= last; seen++) for (const other of this.roam.cells[seen]) found(other);
    });
  }

  crossed(avatar, before) {
    const { roam } = this;
    const now = avatar.cell;
    this.each(before, (other) => {
      if (other !== avatar && !roam.sees(now, other.cell)) {
        avatar.client.view.remove(other.seen);
        other.client.view.remove(avatar.seen);
      }
    });
    this.each(now, (other) => {
      if (other !== avatar && !roam.sees(before, other.cell)) {
        avatar.client.view.add(other.seen);
        other.client.view.add(avatar.seen);
      }
    });
  }

  tick() {
    this.roam.step(filtered ? (avatar, before) => this.crossed(avatar, before) : () => {});
    for (const avatar of this.roam.avatars) {
      avatar.seen.x = avatar.x;
      avatar.seen.y = avatar.y;
    }
    this.broadcastPatch();
    for (const avatar of this.roam.avatars) {
      if (avatar.probe && avatar.seq !== avatar.told) {
        avatar.told = avatar.seq;
        avatar.client.sendBytes(1, Buffer.from(Uint32Array.of(avatar.seq).buffer));
      }
    }
  }
}

const server = new Server({ greet: false, transport: new WebSocketTransport({}) });
server.define("roam", RoamRoom);
await server.listen(Number(given.port), "127.0.0.1");
const room = await matchMaker.createRoom("roam", {});
const lines = [];
for (let i = 0; i < clients; i++) {
  const probe = i % 16 === 0;
  const seat = await matchMaker.joinById(room.roomId, { probe });
  const { sessionId, roomId, processId } = { ...seat, ...(seat.room ?? {}) };
  lines.push(`/${processId}/${roomId}?sessionId=${sessionId} ${Number(probe)} -\n`);
}
writeFileSync(given.plan, lines.join(""));
console.log("ready");
