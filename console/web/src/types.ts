// The Kubernetes objects and runner events this page reads. Only what is used; the full reference is crds/reference.md.

export interface Meta {
  name: string;
  namespace?: string;
  uid: string;
  resourceVersion: string;
  creationTimestamp: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
}

export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason: string;
  message: string;
}

export interface KubeObject {
  kind?: string;
  metadata: Meta;
}

export interface PlanStep {
  title: string;
  status: string;
}

export type SessionWish = "Active" | "Suspended" | "Archived" | "Terminated";

export interface Session extends KubeObject {
  spec: {
    goal?: string;
    environment?: string;
    source?: { snapshot: string };
    attachments?: { name: string }[];
    agent?: { harness?: string; model?: { connection: string }; instructions?: string };
    limits?: Limits;
    state?: SessionWish;
  };
  status?: {
    conditions?: Condition[];
    state?: string;
    doing?: string;
    turn?: number;
    queued?: number;
    requests?: number;
    waitingFor?: string;
    usage?: Usage;
    plan?: PlanStep[];
    environment?: string;
    rationale?: string[];
    epoch?: number;
    seq?: number;
  };
}

/** How far a Session may go before a person is asked. */
export interface Limits {
  turns?: number;
  tokens?: number;
  activeDuration?: string;
}

export interface Usage {
  requests: number;
  inputTokens: number;
  outputTokens: number;
  /** US dollars, as far as prices are known. */
  cost?: string;
  activeSeconds: number;
}

export type RequestType = "Permission" | "Takeover" | "Question" | "Credential" | "Tool" | "Context" | "Handoff";

/** One field of a form. */
export interface Input {
  name: string;
  title?: string;
  type?: "Text" | "Number" | "Boolean" | "Choice" | "File";
  options?: string[];
  optional?: boolean;
}

export interface RequestOption {
  id: string;
  title?: string;
  kind: "AllowOnce" | "AllowAlways" | "RejectOnce" | "RejectAlways";
}

/** What is written into the status of a Request. Who decided is stamped by the server. */
export interface Decision {
  option: string;
  values?: Record<string, string>;
  note?: string;
}

export interface Request extends KubeObject {
  spec: {
    session: string;
    type: RequestType;
    title: string;
    detail?: string;
    options?: RequestOption[];
    form?: Input[];
    subject?: string;
    handoff?: { requirement: string; environment?: string; inputs?: Record<string, string>; tools?: string[]; connections?: string[] };
    turn?: number;
    id?: string;
    expires?: string;
  };
  status?: {
    conditions?: Condition[];
    state?: "Open" | "Granted" | "Refused" | "Expired" | "Cancelled";
    decision?: Decision & { by?: string; at?: string };
    outcome?: string;
  };
}

/** What the console says of a Connection; nothing of its keys. */
export interface ConnectionInfo {
  name: string;
  title?: string | null;
  kind?: string | null;
  target?: string | null;
  provider?: string | null;
  grant?: string | null;
  ready: boolean;
  message?: string | null;
}

/** Somebody who sees the desktop: the user's name, or that and what they may do. */
export type Viewer = string | { user: string; mode?: string };

/** Which way text may go between the desktop's clipboard and that of who controls it. */
export type ClipboardRule = "Both" | "In" | "Out" | "None";

export interface Workspace extends KubeObject {
  spec: {
    environment: string;
    state?: "Running" | "Suspended" | "Archived";
    control?: { holder?: "Agent" | "User"; user?: string; private?: boolean };
  };
  status?: {
    conditions?: Condition[];
    state?: string;
    control?: { holder: "Agent" | "User"; user?: string; private?: boolean; epoch: number; audience?: Viewer[]; clipboard?: ClipboardRule };
    startup?: { total?: string };
    viewers?: number;
    awake?: string;
    idleSince?: string;
    suspendedSince?: string;
    node?: string;
  };
}

/** Somebody who is invited. */
export interface Subject {
  kind: "User" | "Group";
  name: string;
}

export interface Share extends KubeObject {
  spec: { session: string; role: "Watch" | "Control"; subjects: Subject[]; expires?: string };
  status?: { conditions?: Condition[]; workspace?: string };
}

/** What a guest sees beside the picture. */
export interface Invitation {
  share: Share;
  workspace: Workspace | null;
}

export type Delivery = "Queue" | "Steer" | "Interrupt";

export interface Message extends KubeObject {
  spec: {
    session: string;
    content?: string;
    delivery?: Delivery;
    turn?: number;
    author?: { kind: "User" | "Agent" | "System"; name: string };
  };
  status?: {
    conditions?: Condition[];
    seq?: number;
    state?: "Queued" | "Delivered" | "Consumed" | "Dropped";
    turn?: number;
    at?: string;
  };
}

export interface Artifact extends KubeObject {
  spec: {
    session?: string;
    name: string;
    version: number;
    title: string;
    fileName: string;
    mediaType: string;
    size: number;
    turn: number;
    epoch?: number;
  };
  status?: { conditions?: Condition[]; size?: string };
}

export interface Snapshot extends KubeObject {
  spec: { workspace: string };
  status?: {
    conditions?: Condition[];
    consistency?: string;
    restoreSize?: string;
    takenAt?: string;
    checkpoint?: { turn: number };
  };
}

export interface Environment extends KubeObject {
  spec: { title?: string; description?: string; harnesses?: { name: string; default?: boolean }[] };
}

export interface Detail {
  session: Session;
  workspace: Workspace | null;
  messages: Message[];
  requests?: Request[];
  artifacts: Artifact[];
  snapshots: Snapshot[];
}

/** A change seen by a watch, as the console's event stream sends it. */
export type ObjectChange = { type: "Applied" | "Deleted" } & (
  | { kind: "Session"; object: Session }
  | { kind: "Workspace"; object: Workspace }
  | { kind: "Message"; object: Message }
  | { kind: "Request"; object: Request }
  | { kind: "Artifact"; object: Artifact }
  | { kind: "Snapshot"; object: Snapshot }
);

interface RunnerEventBase {
  epoch: number;
  seq: number;
  ts: string;
  turn: number;
}

/** One event of the runner, relayed by the console. Unknown types are ignored. */
export type RunnerEvent = RunnerEventBase &
  (
    | { type: "turnStarted"; data: { messageId: string; content: string; author: string } }
    | { type: "turnEnded"; data: { messageId: string; stopReason: string; detail?: string } }
    | { type: "message"; data: { text: string } }
    | { type: "delta"; data: { text: string } }
    | { type: "step"; data: { id: string; title: string; status: string } }
    | { type: "plan"; data: { entries: PlanStep[] } }
    | { type: "artifact"; data: { name: string; version: number; title: string } }
    | { type: "finished"; data: { summary: string } }
    | { type: "notice"; data: { text: string } }
  );

export interface Me {
  user: string;
  readOnly: boolean;
  namespace: string;
}

/** The named condition of an object. */
export function condition(object: { status?: { conditions?: Condition[] } } | undefined, type: string): Condition | undefined {
  return object?.status?.conditions?.find((c) => c.type === type);
}

/** Whether the named condition is True. */
export function isTrue(object: { status?: { conditions?: Condition[] } } | undefined, type: string): boolean {
  return condition(object, type)?.status === "True";
}
