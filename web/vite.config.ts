import { svelte } from "@sveltejs/vite-plugin-svelte";
import { defineConfig } from "vite";

// Few, cacheable files: the gateway that serves them costs milliseconds per request. So one script, one style sheet and the verifier's core module,
// which is fetched by the first Verify only.
export default defineConfig({
  plugins: [svelte()],
  server: { proxy: { "/api": "http://127.0.0.1:8080" } },
  build: {
    target: "es2022",
    cssCodeSplit: false,
    modulePreload: false,
    // The core module must stay a file of its own, or every visitor would download it within the script.
    assetsInlineLimit: 0,
    rolldownOptions: { output: { codeSplitting: false } },
  },
});
