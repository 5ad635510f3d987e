// Roam by hand on `ws`: no schema and no delta. Each tick writes every avatar once, sorted by cell, 8 bytes each; a view
// is a few slices of that, joined once for all who stand in one cell.
//
//   node websocket.mjs --port P --side CELLS
//
// To the server: [1][u32 number][u8 angle]. To clients: [1] and avatars, u16 id, x, y, u8 angle, u8 0 each; to those who
// asked by "?probe=1", [2][u32 number] after the update that shows their input.
import { WebSocketServer } from "ws";
import { Roam, everyTick, options, tell } from "./roam.mjs";

const AVATAR_BYTES = 8;
const given = options();
const roam = new Roam(Number(given.side));
const sockets = new Map();
const server = new WebSocketServer({ port: Number(given.port), host: "127.0.0.1", perMessageDeflate: false });

server.on("connection", (socket, request) => {
  const avatar = roam.spawn();
  avatar.probe = request.url.endsWith("probe=1");
  roam.add(avatar);
  sockets.set(avatar, socket);
  socket.on("message", (data) => {
    if (data.length !== 6 || data[0] !== 1) return socket.close(1008);
    avatar.seq = data.readUInt32LE(1);
    avatar.head(data[5]);
  });
  socket.on("close", () => {
    roam.remove(avatar);
    sockets.delete(avatar);
  });
  socket.on("error", () => socket.terminate());
});
server.on("listening", () => console.log("ready"));

function write() {
  const bytes = Buffer.allocUnsafe(roam.avatars.length * AVATAR_BYTES);
  const begins = new Uint32Array(roam.cells.length + 1);
  let at = 0;
  for (let cell = 0; cell < roam.cells.length; cell++) {
    begins[cell] = at;
    for (const avatar of roam.cells[cell]) {
      bytes.writeUInt16LE(avatar.place, at);
      bytes.writeUInt16LE(avatar.x, at + 2);
      bytes.writeUInt16LE(avatar.y, at + 4);
      bytes[at + 6] = avatar.angle;
      bytes[at + 7] = 0;
      at += AVATAR_BYTES;
    }
  }
  begins[roam.cells.length] = at;
  return { bytes, begins };
}

function frameOf(cell, { bytes, begins }) {
  const parts = [Buffer.from([1])];
  roam.view(cell, (first, last) => parts.push(bytes.subarray(begins[first], begins[last + 1])));
  return Buffer.concat(parts);
}

everyTick(() => {
  roam.step(() => {});
  const written = write();
  for (let cell = 0; cell < roam.cells.length; cell++) {
    if (roam.cells[cell].size === 0) continue;
    const frame = frameOf(cell, written);
    for (const avatar of roam.cells[cell]) {
      const socket = sockets.get(avatar);
      socket.send(frame);
      if (avatar.probe && avatar.seq !== avatar.told) {
        avatar.told = avatar.seq;
        const ack = Buffer.allocUnsafe(5);
        ack[0] = 2;
        ack.writeUInt32LE(avatar.seq, 1);
        socket.send(ack);
      }
    }
  }
});
tell(roam);
