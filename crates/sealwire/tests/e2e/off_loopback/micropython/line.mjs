// The line of a device under MicroPython: one TCP connection, which may go over to TLS. Bytes cross
// to MicroPython as hexadecimal digits.

import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { workerData } from "node:worker_threads";

const { answered, asked } = workerData;
let stream;
let arriving;
let arrived = Buffer.alloc(0);

const acts = {
  async connect(host, port) {
    stream = net.connect(port, host);
    await once(stream, "connect");
  },
  // Verifies the certificate and its name, which is that of the peer.
  async secure(ca) {
    stream = tls.connect({ socket: stream, host: stream.remoteAddress, ca });
    await once(stream, "secureConnect");
    arriving = stream[Symbol.asyncIterator]();
  },
  // As many bytes as are wanted, or fewer if the connection has ended.
  async read(wanted) {
    while (arrived.length < wanted) {
      const { value, done } = await arriving.next();
      if (done) break;
      arrived = Buffer.concat([arrived, value]);
    }
    const read = arrived.subarray(0, wanted);
    arrived = arrived.subarray(wanted);
    return read.toString("hex");
  },
  async write(bytes) {
    stream.write(Buffer.from(bytes, "hex"));
  },
  async close() {
    stream.destroy();
  },
};

asked.on("message", async ([name, ...words]) => {
  const answer = await acts[name](...words).then(
    (answer) => ({ answer }),
    (failure) => ({ failure: failure.message }),
  );
  asked.postMessage(answer);
  Atomics.store(answered, 0, 1);
  Atomics.notify(answered, 0);
});
