// Generates src/verifier/ from the verifier component: a glue module, its types, and the core
// module that the browser compiles.
//
// The generated folder is not in the repository, so the page always runs the component that was
// built with it.

import { transpile } from "@bytecodealliance/jco-transpile";
import { existsSync } from "node:fs";
import { mkdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";

const web = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const component = process.env.SEALWIRE_VERIFIER ?? path.join(web, "../target/page/verifier.wasm");
const outDir = path.join(web, "src/verifier");

if (!existsSync(component)) {
  console.error(
    `The verifier component is not at ${component}.\n` +
      "Build it first (cargo xtask build does), or name another file in SEALWIRE_VERIFIER.",
  );
  process.exit(1);
}

// `instantiation: async` leaves fetching and compiling the core module to us, so that it can wait for the first Verify.
const { files, imports, exports } = await transpile(component, {
  name: "verifier",
  instantiation: "async",
  nodejsCompat: false,
  base64Cutoff: 0,
  outDir,
});

if (imports.length > 0) {
  refuse(`imports ${imports.join(", ")}: it must import nothing, for a check that can look elsewhere proves nothing`);
}
if (!exports.some(([name]) => name === "check")) {
  refuse("does not export the interface `check` of wit/verifier.wit");
}
// src/verify/verifier.ts fetches one core module; a second would mean that the component has grown adapters.
const cores = Object.keys(files).filter((name) => name.endsWith(".wasm"));
if (cores.length !== 1) refuse(`has ${cores.length} core modules: the page expects one`);

await rm(outDir, { recursive: true, force: true });
for (const [name, bytes] of Object.entries(files)) {
  const file = path.resolve(web, name);
  await mkdir(path.dirname(file), { recursive: true });
  await writeFile(file, name.endsWith("verifier.js") ? withoutFallback(Buffer.from(bytes).toString()) : bytes);
}
console.log(`transpiled ${path.relative(web, component)}: ${Object.keys(files).length} files in ${path.relative(web, outDir)}/`);

/**
 * The glue would fetch a core module from beside itself if it were given no way to get it. We always give one, and Vite, seeing that address, would ship
 * every file of the folder with the page.
 */
function withoutFallback(glue) {
  const fallback = /^\s*if \(!getCoreModule\) .*import\.meta\.url.*$/m;
  if (!fallback.test(glue)) refuse("became glue without the fallback that is taken out here: look at what jco-transpile writes now");
  return glue.replace(fallback, "");
}

function refuse(why) {
  console.error(`${component} ${why}.`);
  process.exit(1);
}
