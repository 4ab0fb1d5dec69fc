// Calls to the console server. Every call that changes something says where it comes from with a header no foreign page can send.

import type { ConnectionInfo, Decision, Delivery, Detail, Environment, Invitation, KubeObject, Limits, Me, Session, SessionWish, Share } from "./types.ts";

/** A refusal, with what the API server said. */
export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly reason: string,
  ) {
    super(message);
    this.name = "ApiError";
  }
}

export interface NewSession {
  name?: string;
  goal?: string;
  environment?: string;
  attachments?: ({ name: string; text: string } | { name: string; connection: { name: string } })[];
  agent?: { harness?: string; model?: { connection: string } };
  source?: { snapshot: string };
}

async function call(method: string, path: string, body?: unknown): Promise<unknown> {
  const init: RequestInit = { method, credentials: "same-origin", cache: "no-store", headers: { Accept: "application/json" } };
  if (method !== "GET") {
    init.headers = { Accept: "application/json", "Content-Type": "application/json", "X-A8s": "1" };
    init.body = JSON.stringify(body ?? {});
  }
  let response: Response;
  try {
    response = await fetch(path, init);
  } catch {
    throw new ApiError("The console cannot be reached. Check the connection; it is tried again.", 0, "Offline");
  }
  const text = await response.text();
  let json: unknown;
  try {
    json = text === "" ? {} : JSON.parse(text);
  } catch {
    json = {};
  }
  if (response.ok) return json;
  const { error, message, reason } = json as { error?: string; message?: string; reason?: string };
  throw new ApiError(message ?? error ?? `The console answered ${response.status} ${response.statusText}`, response.status, reason ?? "");
}

/** A list may come as Kubernetes sends it or as a bare array. */
function items<T extends KubeObject>(answer: unknown, key: string): T[] {
  if (Array.isArray(answer)) return answer as T[];
  const object = answer as Record<string, unknown>;
  const list = object.items ?? object[key];
  return Array.isArray(list) ? (list as T[]) : [];
}

/** For calls whose answer nobody reads. */
async function act(answer: Promise<unknown>): Promise<void> {
  await answer;
}

const seg = encodeURIComponent;
const base = (ns: string): string => `/api/namespaces/${seg(ns)}`;
const one = (ns: string, session: string): string => `${base(ns)}/sessions/${seg(session)}`;

export const api = {
  me: async (): Promise<Me> => (await call("GET", "/api/session")) as Me,
  login: (token: string): Promise<void> => act(call("POST", "/api/login", { token })),
  logout: (): Promise<void> => act(call("POST", "/api/logout")),
  sessions: async (ns: string): Promise<Session[]> => items(await call("GET", `${base(ns)}/sessions`), "sessions"),
  environments: async (ns: string): Promise<Environment[]> => items(await call("GET", `${base(ns)}/environments`), "environments"),
  connections: async (ns: string): Promise<ConnectionInfo[]> => {
    const { items: list } = (await call("GET", `${base(ns)}/connections`)) as { items?: ConnectionInfo[] };
    return list ?? [];
  },
  create: async (ns: string, session: NewSession): Promise<Session> => {
    const answer = (await call("POST", `${base(ns)}/sessions`, session)) as Session | { session: Session };
    return "session" in answer ? answer.session : answer;
  },
  remove: (ns: string, name: string): Promise<void> => act(call("DELETE", one(ns, name))),
  detail: async (ns: string, name: string): Promise<Detail> => (await call("GET", one(ns, name))) as Detail,
  /** `after` is the last event of the runner that is known, `epoch.seq`. */
  eventsUrl: (ns: string, name: string, after: string | undefined): string => `${one(ns, name)}/events${after ? `?after=${after}` : ""}`,
  say: (ns: string, name: string, message: { content?: string; delivery: Delivery; turn?: number }): Promise<void> => act(call("POST", `${one(ns, name)}/messages`, message)),
  control: (ns: string, name: string, control: { holder: "Agent" | "User"; private: boolean }): Promise<void> => act(call("POST", `${one(ns, name)}/control`, control)),
  decide: (ns: string, name: string, request: string, decision: Decision): Promise<void> => act(call("POST", `${one(ns, name)}/requests/${seg(request)}`, decision)),
  limits: (ns: string, name: string, limits: Limits): Promise<void> => act(call("POST", `${one(ns, name)}/limits`, limits)),
  save: async (ns: string, name: string): Promise<KubeObject> => {
    const answer = (await call("POST", `${one(ns, name)}/snapshots`)) as KubeObject | { snapshot: KubeObject };
    return "snapshot" in answer ? answer.snapshot : answer;
  },
  state: (ns: string, name: string, state: SessionWish): Promise<void> => act(call("POST", `${one(ns, name)}/state`, { state })),
  wake: (ns: string, name: string): Promise<void> => act(call("POST", `${one(ns, name)}/wake`)),
  shares: async (ns: string, name: string): Promise<Share[]> => items(await call("GET", `${one(ns, name)}/shares`), "shares"),
  share: async (ns: string, name: string, spec: Omit<Share["spec"], "session">): Promise<Share> => (await call("POST", `${one(ns, name)}/shares`, spec)) as Share,
  revoke: (ns: string, share: string): Promise<void> => act(call("DELETE", `${base(ns)}/shares/${seg(share)}`)),
  invitation: async (ns: string, share: string): Promise<Invitation> => (await call("GET", `${base(ns)}/shares/${seg(share)}`)) as Invitation,
  holdShared: (ns: string, share: string, control: { holder: "Agent" | "User"; private: boolean }): Promise<void> => act(call("POST", `${base(ns)}/shares/${seg(share)}/control`, control)),
  ticket: async (namespace: string, workspace: string, mode: "view" | "control"): Promise<string> =>
    ((await call("POST", "/vnc/ticket", { namespace, workspace, mode })) as { ticket: string }).ticket,
  artifactUrl: (ns: string, artifact: string): string => `${base(ns)}/artifacts/${seg(artifact)}/content`,
};
