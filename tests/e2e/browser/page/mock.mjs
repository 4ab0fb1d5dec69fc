// The built page in front of a console with canned data, which each file of tests starts for itself: what one file changes, no other sees.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { after, before } from "node:test";
import assert from "node:assert/strict";
import { eventually, signedIn } from "../browser.mjs";

const web = fileURLToPath(new URL("../../../../console/web/", import.meta.url));
let server;
let base;

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}

before(async () => {
  assert.ok(existsSync(`${web}dist/index.html`), "the page is not built: npm ci && npm run build in console/web");
  const port = await freePort();
  base = `http://localhost:${port}`;
  // Not through npx, which would leave the server behind when it is ended.
  const program = `${web}node_modules/vite/bin/vite.js`;
  server = spawn(process.execPath, [program, "preview", "--mode", "mock", "--host", "localhost", "--port", String(port), "--strictPort"], { cwd: web, stdio: ["ignore", "ignore", "inherit"] });
  await eventually("the mock console answers", 30_000, () => fetch(base).then((answer) => answer.ok, () => false));
});

after(async () => {
  if (server?.exitCode !== null) return;
  server.kill();
  await once(server, "exit");
});

/** A page of somebody who signed in with `token`, at `place` below the namespace. */
export const open = (token, place, options) => signedIn(base, token, `/team-blue${place}`, options);
