// The built page in front of a console with canned data, which each file of tests starts for itself: what one file changes, no other sees.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { fileURLToPath } from "node:url";
import { after } from "node:test";
import assert from "node:assert/strict";
import { eventually, signedIn } from "../browser.mjs";

const web = fileURLToPath(new URL("../../../../console/web/", import.meta.url));

async function freePort() {
  const listener = createServer().listen(0, "127.0.0.1");
  await once(listener, "listening");
  const { port } = listener.address();
  listener.close();
  await once(listener, "close");
  return port;
}

assert.ok(existsSync(`${web}dist/index.html`), "the page is not built: npm ci && npm run build in console/web");
const port = await freePort();
const base = `http://localhost:${port}`;
// Not through npx, which would leave the server behind when it is ended.
const program = `${web}node_modules/vite/bin/vite.js`;
const options = [program, "preview", "--mode", "mock", "--host", "localhost", "--port", String(port), "--strictPort"];
const server = spawn(process.execPath, options, { cwd: web, stdio: ["ignore", "ignore", "inherit"] });
// A file that fails before its tests leaves no server behind either.
process.on("exit", () => server.kill());
await eventually("the mock console answers", 30_000, () => fetch(base).then((answer) => answer.ok, () => false));

after(async () => {
  server.kill();
  await once(server, "exit");
});

/** A page of somebody who signed in with `token`, at `place` below the namespace. */
export const open = (token, place, options) => signedIn(base, token, `/team-blue${place}`, options);
