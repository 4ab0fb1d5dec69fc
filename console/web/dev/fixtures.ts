// Canned objects for the mock server.

import type { Artifact, ConnectionInfo, Detail, Environment, Message, Meta, Request, RunnerEvent, Session, Snapshot, Workspace } from "../src/types.ts";

const START = Date.now() - 6 * 60_000;
/** When the recording of turn 1 begins: just before its Snapshot, and before the agent's last word. */
export const RECORDED = START + 90_000;
const ago = (seconds: number): string => new Date(START + seconds * 1000).toISOString();

const meta = (name: string, seconds: number): Meta => ({ name, namespace: "team-blue", uid: `uid-${name}`, resourceVersion: "100", creationTimestamp: ago(seconds) });
const ready = [{ type: "Ready", status: "True" as const, reason: "Ready", message: "" }];

function message(name: string, seq: number, at: number, kind: "User" | "Agent", content: string, state: "Queued" | "Delivered" | "Consumed"): Message {
  const author = kind === "User" ? "system:serviceaccount:team-blue:jane" : "builtin";
  return { kind: "Message", metadata: meta(name, at), spec: { session: "rain-report", content, delivery: "Queue", author: { kind, name: author } }, status: { seq, state, turn: 1, at: ago(at) } };
}

function artifact(name: string, version: number, title: string, fileName: string, mediaType: string, size: number, stored: boolean): Artifact {
  return { kind: "Artifact", metadata: meta(`rain-report-${name}-v${version}`, 100 + version), spec: { session: "rain-report", name, version, title, fileName, mediaType, size, turn: version },
    status: { conditions: stored ? ready : [] } };
}

type Body = RunnerEvent extends infer E ? (E extends { type: infer T; data: infer D } ? { type: T; data: D } : never) : never;

function event(seq: number, at: number, turn: number, body: Body): RunnerEvent {
  return { epoch: 0, seq, ts: ago(at), turn, ...body };
}

const step = (seq: number, at: number, turn: number, title: string, status: string): RunnerEvent => event(seq, at, turn, { type: "step", data: { id: `s${seq}`, title, status } });

export function fixtures(): { working: boolean; session: Session; workspace: Workspace; messages: Message[]; requests: Request[]; artifacts: Artifact[]; snapshots: Snapshot[]; events: RunnerEvent[] } {
  const plan = [
    { title: "Read weather.csv and check its columns", status: "completed" },
    { title: "Sum rain and average temperature per year", status: "completed" },
    { title: "Draw one chart per year", status: "in_progress" },
    { title: "Print the page to PDF and publish it", status: "pending" },
  ];
  return {
    working: true,
    session: {
      kind: "Session", metadata: meta("rain-report", 0),
      spec: { goal: "Make a one-page PDF report of yearly rain and temperature with a chart, from the attached data.", attachments: [{ name: "weather.csv" }] },
      status: { state: "Working", doing: "drawing the chart of 2014", turn: 2, queued: 1, plan, environment: "desktop", rationale: ["capability pdf", "keyword report"], epoch: 0,
        requests: 3, waitingFor: "3 requests", usage: { requests: 41, inputTokens: 1_204_000, outputTokens: 9_800, cost: "1.27", activeSeconds: 432 } },
    },
    workspace: {
      kind: "Workspace", metadata: meta("rain-report", 1), spec: { environment: "desktop", control: { holder: "Agent" } },
      status: { state: "Running", conditions: ready, control: { holder: "Agent", private: false, epoch: 1, audience: ["system:serviceaccount:team-blue:jane", "erik"] }, startup: { total: "1.1s" } },
    },
    messages: [
      message("rain-report-0-8", 2, 95, "Agent", "The report is ready: **report.pdf**, one page.\n\n| year | rain | mean |\n|---|---|---|\n| 2012 | 1226 mm | 11.0 °C |\n| 2013 | 828 mm | 11.9 °C |\n\nThe wettest year was `2012`.", "Consumed"),
      message("rain-report-k7", 3, 200, "User", "Use one chart per year.", "Delivered"),
      message("rain-report-q1", 4, 290, "User", "And please put the source of the data into the footer.", "Queued"),
    ],
    requests: [
      request("rain-report-0-5", 60, { type: "Permission", id: "0-5", title: "Run `pip install matplotlib` in the terminal", options: [
        { id: "once", title: "Allow once", kind: "AllowOnce" }, { id: "always", title: "Always allow", kind: "AllowAlways" }, { id: "no", title: "Reject", kind: "RejectOnce" }] },
      { state: "Granted", decision: { option: "once", by: "system:serviceaccount:team-blue:jane", at: ago(64) } }),
      request("rain-report-0-14", 250, { type: "Permission", id: "0-14", title: "Fetch https://data.example.org/rain.csv", detail: "The attached file ends in **2014**; the newer years are there.", options: [
        { id: "once", title: "Allow once", kind: "AllowOnce" }, { id: "always", title: "Always allow", kind: "AllowAlways" }, { id: "no", title: "Reject", kind: "RejectOnce" }] }),
      request("rain-report-0-15", 260, { type: "Question", id: "0-15", title: "Which units shall the report use?", form: [
        { name: "unit", title: "Unit of rain", type: "Choice", options: ["mm", "inch"] }, { name: "decimals", title: "Decimals", type: "Number", optional: true }, { name: "legend", title: "With a legend", type: "Boolean" }] }),
      request("rain-report-0-16", 265, { type: "Takeover", id: "0-16", title: "Log in to the weather portal", detail: "The page asks for a second factor. Hand back when you see the station's list." }),
    ],
    artifacts: [
      artifact("report", 1, "Rain and temperature", "report.pdf", "application/pdf", 84_213, true),
      artifact("report", 2, "Rain and temperature, per year", "report.pdf", "application/pdf", 126_300, true),
      artifact("recording-turn-1", 1, "The desktop in turn 1", "recording-turn-1.tar", "application/vnd.a8s.recording+tar", 14_340_000, true),
      artifact("table", 1, "Yearly figures", "yearly.csv", "text/csv", 912, false),
    ],
    snapshots: [
      { kind: "Snapshot", metadata: meta("rain-report-1", 120), spec: { workspace: "rain-report" }, status: { conditions: ready, consistency: "Turn", restoreSize: "412Mi", takenAt: ago(93), checkpoint: { turn: 1 } } },
    ],
    events: [
      event(1, 5, 1, { type: "turnStarted", data: { messageId: "goal", content: "", author: "jane" } }),
      step(3, 20, 1, "read Attachments/weather.csv", "completed"), step(4, 30, 1, "write report.html", "completed"),
      step(5, 50, 1, "open report.html in the browser", "completed"), step(6, 70, 1, "print the page to report.pdf", "completed"),
      event(8, 95, 1, { type: "message", data: { text: "The report is ready." } }),
      event(9, 96, 1, { type: "turnEnded", data: { messageId: "goal", stopReason: "end_turn" } }),
      event(10, 200, 2, { type: "turnStarted", data: { messageId: "rain-report-k7", content: "", author: "jane" } }),
      event(11, 204, 2, { type: "plan", data: { entries: plan } }),
      step(12, 210, 2, "change report.html: one chart per year", "completed"), step(13, 240, 2, "reload the page in the browser", "in_progress"),
    ],
  };
}

function request(name: string, seconds: number, spec: Omit<Request["spec"], "session">, status: Request["status"] = { state: "Open" }): Request {
  return { kind: "Request", metadata: meta(name, seconds), spec: { session: "rain-report", expires: ago(seconds + 1800), ...spec }, status };
}

/** A Session that is still a talk. */
export function talk(): Detail {
  const said = (name: string, seq: number, at: number, kind: "User" | "Agent", content: string): Message => ({
    kind: "Message", metadata: meta(name, at), spec: { session: "supplier", content, author: { kind, name: kind === "User" ? "jane" : "chat" } }, status: { seq, state: "Consumed", at: ago(at) },
  });
  return {
    session: { kind: "Session", metadata: meta("supplier", 0), spec: { attachments: [{ name: "figures.csv" }] },
      status: { state: "Chatting", doing: "waits for the requirement to be confirmed", requests: 1, waitingFor: "1 request" } },
    workspace: null,
    messages: [
      said("supplier-a", 1, 5, "User", "The quarterly figures must get into the supplier's portal."),
      said("supplier-chat-x", 2, 8, "Agent", "I see **figures.csv** among the attachments. Which quarter is it, and may I submit, or only fill in?"),
      said("supplier-b", 3, 40, "User", "Third quarter. Fill in only, I submit."),
    ],
    requests: [request("supplier-handoff-1", 45, {
      type: "Handoff", title: "Begin with this?", form: [{ name: "quarter", title: "Quarter", type: "Choice", options: ["Q2", "Q3"] }, { name: "file", title: "The figures", type: "File" }],
      handoff: { requirement: "Fill the figures of the third quarter from `figures.csv` into the supplier's portal.\n\n- do **not** submit\n- stop at the summary page", environment: "office", inputs: { quarter: "Q3" }, tools: ["computer"], connections: ["portal"] },
    })],
    artifacts: [], snapshots: [],
  };
}

export const connections: ConnectionInfo[] = [
  { name: "claude", title: "Claude", kind: "Model", target: "claude-opus", provider: "anthropic", grant: "Ask", ready: true, message: "" },
  { name: "local", kind: "Model", target: "qwen-vl", provider: "openai-compatible", grant: "Auto", ready: true, message: "" },
  { name: "portal", title: "Supplier portal", kind: "HTTP", target: "portal.example.org", grant: "Ask", ready: true, message: "" },
  { name: "wiki", kind: "MCP", target: "wiki.example.org", grant: "Auto", ready: false, message: "Secret wiki-key is missing" },
];

function other(name: string, seconds: number, state: string, doing: string, goal: string, environment: string, turn: number): Session {
  return { kind: "Session", metadata: meta(name, seconds), spec: { goal }, status: { state, doing, environment, turn } };
}

export const others: Session[] = [
  { ...talk().session },
  other("quarterly", -3600, "Waiting", "waits for a message", "Fill the supplier portal with the figures of the attached sheet.", "office", 7),
  other("invoices-2026-09", -9000, "Finished", "published invoices.xlsx", "Match the invoices of September with the ledger.", "office", 3),
  other("portal-check", -90_000, "Suspended", "", "Check every page of the portal for broken links.", "desktop", 12),
  other("slides", -200_000, "Stalled", "image cannot be pulled", "Make ten slides of the yearly report.", "office", 0),
];

export const environments: Environment[] = [
  { metadata: meta("desktop", -400_000), spec: { title: "Linux desktop", harnesses: [{ name: "builtin", default: true }, { name: "opencode" }] } },
  { metadata: meta("office", -400_000), spec: { title: "Office desktop" } },
];
