// Runs `device.py` under MicroPython: HOST PORT FILE CA. FILE is what `sealwire sensor add` wrote,
// and CA the certificate of an authority.
//
// MicroPython's WebAssembly has no sockets. Ours wait for `line.mjs`, which runs in a thread of its
// own, as a chip waits for its radio.

import { readFileSync } from "node:fs";
import { MessageChannel, receiveMessageOnPort, Worker } from "node:worker_threads";
import { loadMicroPython } from "@micropython/micropython-webassembly-pyscript";

const [host, port, file, ca] = process.argv.slice(2);
const here = (name) => new URL(name, import.meta.url);
const answered = new Int32Array(new SharedArrayBuffer(4));
const { port1: asking, port2: asked } = new MessageChannel();
const line = new Worker(here("line.mjs"), {
  workerData: { answered, asked },
  transferList: [asked],
});
line.unref();

const ask = (name) => (...words) => {
  asking.postMessage([name, ...words]);
  Atomics.wait(answered, 0, 0);
  Atomics.store(answered, 0, 0);
  const { failure, answer } = receiveMessageOnPort(asking).message;
  if (failure) throw new Error(failure);
  return answer;
};

const python = await loadMicroPython({ stdout: (words) => console.log(words) });
python.registerJsModule("line", {
  connect: ask("connect"),
  secure: ask("secure"),
  read: ask("read"),
  write: ask("write"),
  close: ask("close"),
});
python.FS.mkdir("/umqtt");
for (const [name, source] of [
  ["usocket.py", "usocket.py"],
  ["ussl.py", "ussl.py"],
  ["umqtt/simple.py", "node_modules/umqtt.py"],
]) {
  python.FS.writeFile(`/${name}`, readFileSync(here(source)));
}
python.FS.writeFile("/credential.json", readFileSync(file));
python.globals.set("HOST", host);
python.globals.set("PORT", Number(port));
python.globals.set("CA", readFileSync(ca, "utf8"));
// What fails out here passes through Python and cannot be caught there.
try {
  python.runPython(readFileSync(here("device.py"), "utf8"));
} catch (failure) {
  console.log(`closed: ${failure.message}`);
}
process.exit(0);
