// Shares of the mock server: one that holds, one that is over, and what the dialog makes of them.

import type { Invitation, Share, Workspace } from "../src/types.ts";

const HOUR = 3_600_000;

function share(name: string, spec: Omit<Share["spec"], "session">, reason: string): Share {
  const status = reason === "Shared" ? "True" as const : "False" as const;
  return {
    kind: "Share",
    metadata: { name, uid: name, resourceVersion: "1", creationTimestamp: new Date().toISOString() },
    spec: { session: "rain-report", ...spec },
    status: { conditions: [{ type: "Ready", status, reason, message: "" }], workspace: "rain-report" },
  };
}

const held: Share[] = [
  share("rain-report-x2k4j", { role: "Control", subjects: [{ kind: "User", name: "system:serviceaccount:team-blue:omar" }], expires: new Date(Date.now() + 5 * HOUR).toISOString() }, "Shared"),
  share("rain-report-b7q9d", { role: "Watch", subjects: [{ kind: "Group", name: "reviewers" }], expires: new Date(Date.now() - HOUR).toISOString() }, "Expired"),
];

/** The answer to a call that is about Shares; else nothing. */
export function shares(method: string, path: string, body: Record<string, unknown>, workspace: Workspace): { items: Share[] } | Share | Invitation | undefined {
  const name = /\/shares\/([^/]+)/.exec(path)?.[1];
  const at = held.findIndex((one) => one.metadata.name === name);
  if (path.endsWith("/shares") && method === "GET") return { items: held };
  if (path.endsWith("/shares")) {
    const made = share(`rain-report-${Math.random().toString(36).slice(2, 7)}`, body as unknown as Omit<Share["spec"], "session">, "Shared");
    held.push(made);
    return made;
  }
  const [found] = at < 0 ? [] : held.slice(at, at + 1);
  if (found === undefined || path.endsWith("/control")) return undefined;
  if (method === "DELETE") held.splice(at, 1);
  return { share: found, workspace };
}
