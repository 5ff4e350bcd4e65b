// Runs src/**/*.test.ts with Node's own test runner. Node 20 does not read TypeScript, so Vite, which is here anyway, bundles the tests first.

import { spawnSync } from "node:child_process";
import { readdir, rm } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { svelte } from "@sveltejs/vite-plugin-svelte";
import { build } from "vite";

const web = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const outDir = path.join(web, "node_modules/.cache/sealwire-tests");

const files = await readdir(path.join(web, "src"), { recursive: true });
const tests = files.filter((file) => file.endsWith(".test.ts"));
const input = Object.fromEntries(tests.map((file) => [file.replace(/\.ts$/, "").replaceAll(path.sep, "-"), path.join(web, "src", file)]));

await rm(outDir, { recursive: true, force: true });
await build({
  root: web,
  configFile: false,
  // Components are rendered to text, as a server would.
  plugins: [svelte()],
  logLevel: "warn",
  build: { ssr: true, outDir, emptyOutDir: true, minify: false, sourcemap: "inline", rolldownOptions: { input, output: { entryFileNames: "[name].mjs" } } },
});

const bundles = Object.keys(input).map((name) => path.join(outDir, `${name}.mjs`));
const { status } = spawnSync(process.execPath, ["--enable-source-maps", "--test", "--test-reporter=spec", ...bundles], { stdio: "inherit" });
process.exit(status ?? 1);
