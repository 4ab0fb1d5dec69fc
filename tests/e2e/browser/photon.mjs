// The browser of the bench: it opens a desktop's stream with noVNC, presses keys, and says how long each took until a pixel of the canvas
// was another. Told what to do line by line, `{url, protocols, times}`, it answers with a line, `{times: [milliseconds]}`.
//
// A8S_CHROMIUM  browser (default /usr/bin/chromium)

import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

/** noVNC as the console has it. */
const novnc = fileURLToPath(new URL("../../../console/web/node_modules/@novnc/novnc/", import.meta.url));
const HTML = '<!doctype html><title>photon</title><style>#screen{width:1280px;height:800px}</style><div id="screen"></div>';
/** Keys meet the clocks of server and browser anywhere. */
const PAUSE_MS = [20, 60];

const server = createServer(async (request, answer) => {
  const path = new URL(request.url ?? "/", "http://page").pathname;
  if (!path.startsWith("/novnc/")) {
    answer.setHeader("Content-Type", "text/html").end(HTML);
    return;
  }
  const text = await readFile(`${novnc}${path.slice("/novnc/".length)}`).catch(() => undefined);
  answer.setHeader("Content-Type", "text/javascript");
  if (text === undefined) answer.writeHead(404);
  answer.end(text);
}).listen(0, "127.0.0.1");
await once(server, "listening");
const origin = `http://127.0.0.1:${server.address().port}`;

const browser = await chromium.launch({
  executablePath: process.env.A8S_CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
});
const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
page.setDefaultTimeout(30_000);
await page.goto(origin);

/** Connects, and watches one pixel: each time that noVNC draws on the canvas, it is looked at. */
const open = ({ url, protocols }) => page.evaluate(async ([url, protocols]) => {
  const { default: RFB } = await import("/novnc/core/rfb.js");
  const rfb = new RFB(document.getElementById("screen"), new WebSocket(url, protocols), { shared: true });
  // As the console asks on a good connection.
  [rfb.qualityLevel, rfb.compressionLevel] = [8, 2];
  await new Promise((resolve, reject) => {
    rfb.addEventListener("connect", resolve);
    rfb.addEventListener("disconnect", () => reject(new Error("the stream ended")));
  });
  const context = document.querySelector("#screen canvas").getContext("2d");
  const red = () => context.getImageData(100, 100, 1, 1).data[0];
  const state = (window.state = { rfb, pressed: undefined, last: red(), seen: undefined });
  const draw = context.drawImage;
  context.drawImage = (...args) => {
    draw.apply(context, args);
    const now = red();
    if (Math.abs(now - state.last) < 60) return;
    state.last = now;
    if (state.pressed !== undefined) state.seen?.(performance.now() - state.pressed);
    state.pressed = undefined;
  };
  // When the browser got the key, before anybody handled it.
  state.key = (event) => (state.pressed = event.timeStamp);
  window.addEventListener("keydown", state.key, true);
  rfb.focus();
}, [url, protocols]);

const close = () => page.evaluate(() => {
  window.removeEventListener("keydown", window.state.key, true);
  window.state.rfb.disconnect();
});

async function press() {
  const seen = page.evaluate(() => new Promise((resolve, reject) => {
    window.state.seen = resolve;
    setTimeout(() => reject(new Error("no pixel changed")), 10_000);
  }));
  await page.keyboard.press("a");
  return seen;
}

async function measure(wish) {
  await open(wish);
  // The first picture, and the first key, are like no other.
  await page.waitForTimeout(500);
  await press();
  const times = [];
  for (let n = 0; n < wish.times; n += 1) {
    times.push(await press());
    await page.waitForTimeout(PAUSE_MS[0] + Math.random() * (PAUSE_MS[1] - PAUSE_MS[0]));
  }
  await close();
  return times;
}

const say = (what) => process.stdout.write(`${JSON.stringify(what)}\n`);
say({ origin });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    say({ times: await measure(JSON.parse(line)) });
  } catch (error) {
    say({ error: error.message });
    break;
  }
}
await browser.close();
server.close();
