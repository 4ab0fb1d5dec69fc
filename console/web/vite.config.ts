import { defineConfig, type Plugin } from "vite";
import { mockServer } from "./dev/mock.ts";

// `vite --mode mock` serves the page with canned data instead of passing calls on to a console; nothing of it gets into the build.
export default defineConfig(({ mode }) => ({
  base: "./",
  plugins: mode === "mock" ? [mockServer() as Plugin] : [],
  build: {
    target: "es2022",
    // No data: URLs and no inline preload script: the console's Content-Security-Policy allows files of its own origin only.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    license: { fileName: "licenses.md" },
  },
  // `vite preview --mode mock` serves the built page under the console's policy.
  preview: {
    headers: {
      "Content-Security-Policy":
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    },
  },
  server: {
    proxy: mode === "mock" ? {} : { "/api": "http://localhost:8080", "/vnc": { target: "http://localhost:8080", ws: true } },
  },
}));
