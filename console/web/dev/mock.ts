// A console server with canned data, as a Vite plugin (`vite --mode mock`). Development and browser tests of the page only; never built in.

import type { IncomingMessage, ServerResponse } from "node:http";
import type { Duplex } from "node:stream";
import type { Decision, KubeObject, Message, ObjectChange, RunnerEvent } from "../src/types.ts";
import { connections, environments, fixtures, others, RECORDED, talk } from "./fixtures.ts";
import { recording } from "./recording.ts";
import { serveDesktop } from "./rfb.ts";
import { shares } from "./shares.ts";

interface Server {
  middlewares: { use: (handler: (req: IncomingMessage, res: ServerResponse, next: () => void) => void) => void };
  httpServer: { on: (event: "upgrade", listener: (req: IncomingMessage, socket: Duplex) => void) => unknown } | null;
}

/** Any token signs in; the token `read-only` shows a read-only console. */
export function mockServer(): { name: string; configureServer: (server: Server) => void; configurePreviewServer: (server: Server) => void } {
  return { name: "a8s-mock", configureServer, configurePreviewServer: configureServer };
}

function configureServer(server: Server): void {
  const data = fixtures();
  const talking = talk();
  /** Each open stream, and the Session it is of. */
  const streams = new Map<ServerResponse, string>();
  let version = 1000;
  let tick = 0;
  let seq = 20;

  const emit = (event: string, body: ObjectChange | RunnerEvent, of: string): void => {
    for (const [stream, session] of streams) if (session === of) stream.write(`event: ${event}\ndata: ${JSON.stringify(body)}\n\n`);
  };
  const changed = (change: { kind: ObjectChange["kind"]; object: KubeObject }, of = "rain-report"): void => {
    version += 1;
    change.object.metadata.resourceVersion = String(version);
    emit("object", { type: "Applied", ...change } as ObjectChange, of);
  };
  type Body = RunnerEvent extends infer E ? (E extends { type: infer T; data: infer D } ? { type: T; data: D } : never) : never;
  const run = (body: Body): void => {
    if (body.type !== "delta") seq += 1;
    emit("runner", { epoch: 0, seq, ts: new Date().toISOString(), turn: 2, ...body }, "rain-report");
  };
  const text = "Two charts are drawn. I am putting them into the **report** now";
  setInterval(() => {
    tick += 1;
    if (!data.working) return;
    if (tick % 12 === 0) run({ type: "step", data: { id: `t${Math.floor(tick / 24)}`, title: `look at the page, part ${Math.floor(tick / 24) + 1}`, status: tick % 24 === 0 ? "in_progress" : "completed" } });
    const word = text.split(" ")[tick % 16];
    if (word) run({ type: "delta", data: { text: `${tick % 16 === 0 ? "\n\n" : " "}${word}` } });
  }, 400).unref();

  const post = (path: string, body: Record<string, unknown>, user: string): unknown => {
    const { workspace, session } = data;
    const decided = /\/requests\/([^/]+)$/.exec(path)?.[1];
    if (decided !== undefined) {
      const request = [...data.requests, ...(talking.requests ?? [])].find((one) => one.metadata.name === decided);
      if (!request) return {};
      const decision = { ...(body as unknown as Decision), by: user };
      request.status = { ...request.status, decision };
      const of = data.requests.includes(request) ? "rain-report" : "supplier";
      changed({ kind: "Request", object: request }, of);
      setTimeout(() => {
        request.status = { ...request.status, state: /^(deny|no)$/.test(decision.option) ? "Refused" : "Granted" };
        changed({ kind: "Request", object: request }, of);
      }, 800);
      return request;
    }
    if (path.endsWith("/limits")) {
      session.status = { ...session.status, conditions: [] };
      changed({ kind: "Session", object: session });
      return session;
    }
    if (path.endsWith("/messages")) {
      version += 1;
      const message: Message = {
        kind: "Message",
        metadata: { name: `rain-report-x${version}`, uid: `u${version}`, resourceVersion: "1", creationTimestamp: new Date().toISOString() },
        spec: { session: "rain-report", delivery: body.delivery as "Queue", author: { kind: "User", name: user }, ...(typeof body.content === "string" ? { content: body.content } : {}) },
        status: { seq: 10 + data.messages.length, state: "Queued", at: new Date().toISOString() },
      };
      data.messages.push(message);
      changed({ kind: "Message", object: message });
      setTimeout(() => {
        message.status = { ...message.status, state: "Delivered" };
        changed({ kind: "Message", object: message });
      }, body.delivery === "Queue" ? 2500 : 500);
      if (body.content) setTimeout(() => {
        run({ type: "message", data: { text: "Done: there is **one chart per year** now." } });
      }, 4000);
      if (body.delivery === "Interrupt") {
        data.working = false;
        run({ type: "turnEnded", data: { messageId: "", stopReason: "cancelled" } });
        session.status = { ...session.status, state: "Waiting", doing: "waits for a message" };
        changed({ kind: "Session", object: session });
      }
      return message;
    }
    if (path.endsWith("/control")) {
      const mine = body.holder === "User";
      workspace.status = { ...workspace.status, control: { ...workspace.status?.control, holder: mine ? "User" : "Agent", user: mine ? user : "", private: body.private === true, epoch: version } };
      workspace.spec.control = { holder: mine ? "User" : "Agent" };
      changed({ kind: "Workspace", object: workspace });
      return workspace;
    }
    if (path.endsWith("/state")) {
      const active = body.state === "Active";
      session.spec.state = active ? "Active" : "Suspended";
      session.status = { ...session.status, state: active ? "Working" : "Suspended", doing: "" };
      workspace.status = { ...workspace.status, state: active ? "Running" : "Suspended" };
      changed({ kind: "Workspace", object: workspace });
      changed({ kind: "Session", object: session });
      return session;
    }
    return { metadata: { name: "rain-report-save" } };
  };

  server.middlewares.use((req, res, next) => {
    const path = (req.url ?? "").split("?")[0] ?? "";
    if (!path.startsWith("/api/") && path !== "/vnc/ticket") return next();
    const cookie = /a8s-session=([^;]+)/.exec(req.headers.cookie ?? "")?.[1];
    const answer = (status: number, body: unknown, headers: Record<string, string> = {}): void => {
      res.writeHead(status, { "Content-Type": "application/json", ...headers });
      res.end(JSON.stringify(body));
    };
    const user = "system:serviceaccount:team-blue:jane";
    let raw = "";
    req.on("data", (part: Buffer) => (raw += part.toString()));
    req.on("end", () => {
      const body = (raw === "" ? {} : JSON.parse(raw)) as Record<string, unknown>;
      if (req.method !== "GET" && req.headers["x-a8s"] !== "1") return answer(403, { error: "header X-A8s is missing", reason: "Forbidden" });
      if (path === "/api/login") {
        if (body.token === "wrong") return answer(401, { error: "The API server does not accept this token. Make a new one with kubectl create token.", reason: "Unauthorized" });
        return answer(200, {}, { "Set-Cookie": `a8s-session=${String(body.token)}; HttpOnly; SameSite=Strict; Path=/` });
      }
      if (path === "/api/logout") return answer(200, {}, { "Set-Cookie": "a8s-session=; Max-Age=0; Path=/" });
      if (cookie === undefined) return answer(401, { error: "not signed in", reason: "Unauthorized" });
      if (path === "/api/session") return answer(200, { user, readOnly: cookie === "read-only", namespace: "team-blue" });
      if (path === "/vnc/ticket") return answer(200, { ticket: "t", expiresIn: 30 });
      const shared = shares(req.method ?? "GET", path, body, data.workspace);
      if (shared !== undefined) return answer(200, shared);
      if (path.endsWith("/connections")) return answer(200, { items: connections });
      if (path.endsWith("/environments")) return answer(200, { items: environments });
      if (path.endsWith("/sessions") && req.method === "GET") return answer(200, { items: [data.session, ...others] });
      if (path.endsWith("/sessions")) return answer(403, { error: "sessions.a8s.dev is forbidden: quota of 3 sessions is used up", reason: "Forbidden" });
      if (path.includes("recording") && path.endsWith("/content")) {
        const archive = recording(RECORDED);
        res.writeHead(200, { "Content-Type": "application/octet-stream", "Content-Length": archive.length });
        return res.end(archive);
      }
      if (path.endsWith("/content")) {
        res.writeHead(200, { "Content-Type": "application/pdf", "Content-Disposition": "attachment; filename=report.pdf" });
        return res.end(`%PDF-1.7\n${"%".repeat(4000)}\n`);
      }
      if (path.endsWith("/events")) {
        res.writeHead(200, { "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
        res.write(": hello\n\n");
        const of = path.includes("/sessions/supplier/") ? "supplier" : "rain-report";
        if (of === "rain-report") for (const event of data.events) res.write(`event: runner\ndata: ${JSON.stringify(event)}\n\n`);
        streams.set(res, of);
        res.on("close", () => streams.delete(res));
        return undefined;
      }
      if (req.method === "POST") return answer(200, post(path, body, user));
      if (path.endsWith("/sessions/supplier")) return answer(200, talking);
      if (cookie === "limited") data.session.status = { ...data.session.status, conditions: [{ type: "Limited", status: "True", reason: "LimitReached", message: "the limit of tokens is reached; nothing is lost, raise it and the agent goes on: kubectl patch session" }] };
      if (cookie === "limited") data.session.spec.limits = { tokens: 1_000_000 };
      const { session, workspace, messages, requests, artifacts, snapshots } = data;
      return answer(200, { session, workspace, messages, requests, artifacts, snapshots });
    });
  });
  server.httpServer?.on("upgrade", (req, socket) => {
    if (req.url?.startsWith("/vnc/stream")) serveDesktop(req, socket, () => tick);
  });
}
