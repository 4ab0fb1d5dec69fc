// All Sessions of a namespace.

import { api, ApiError } from "../api.ts";
import { fill, h, icon, KeyedList, setText } from "../dom.ts";
import { age, tone } from "../format.ts";
import type { View } from "../main.ts";
import { stateWord } from "../model.ts";
import { hashFor } from "../route.ts";
import { acting, complain } from "../toast.ts";
import type { Session } from "../types.ts";
import { Connections } from "./connections.ts";
import { newSession } from "./new-session.ts";
import { topBar, type Shell } from "./shell.ts";

const EVERY_MS = 3000;

interface Row {
  name: string;
  goal: string;
  state: string;
  doing: string;
  waits: string;
  environment: string;
  turn: string;
  age: string;
}

export class SessionsView implements View {
  readonly element: HTMLElement;
  private readonly rows: KeyedList<Row>;
  private readonly empty: HTMLElement;
  private readonly count = h("span", { class: "muted count" });
  private timer: ReturnType<typeof setTimeout> | undefined;
  private closed = false;
  private failing = false;

  constructor(
    private readonly shell: Shell,
    private readonly namespace: string,
  ) {
    const list = h("ul", { class: "rows", "aria-label": "Sessions" });
    this.rows = new KeyedList(list, (row) => row.name, (row) => this.row(row));
    this.empty = h("div", { class: "empty" });
    const field = h("input", { id: "namespace", testid: "namespace", value: namespace, autocomplete: "off", spellcheck: "false", "aria-label": "Namespace" });
    const ns = h("form", { class: "namespace", on: (event) => { event.preventDefault(); location.hash = hashFor(field.value.trim()); } },
      h("label", { for: "namespace" }, "namespace"), field);
    const connections = new Connections(namespace);
    const create = h("button", { class: "primary", type: "button", testid: "new-session", on: () => newSession(namespace) }, icon("plus"), "New session");
    this.element = h("div", { class: "page" }, topBar(shell, namespace, ns),
      h("main", { class: "list" }, h("div", { class: "title" }, h("h1", {}, "Sessions"), this.count, h("span", { class: "grow" }), !shell.me.readOnly && create), list, this.empty, connections.element));
    void this.refresh();
    void connections.load();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
  }

  private async refresh(): Promise<void> {
    clearTimeout(this.timer);
    try {
      if (!document.hidden) this.show(await api.sessions(this.namespace));
      this.failing = false;
    } catch (error) {
      if (this.closed) return;
      if (error instanceof ApiError && error.status === 401) {
        this.shell.signedOut();
        return;
      }
      if (error instanceof ApiError && error.status === 403) this.refuse(error.message);
      else if (!this.failing) complain(error);
      this.failing = true;
    }
    if (!this.closed) this.timer = setTimeout(() => void this.refresh(), EVERY_MS);
  }

  private refuse(why: string): void {
    this.rows.update([]);
    setText(this.count, "");
    fill(this.empty, h("div", { class: "card hint" }, h("h2", {}, `You may not see the sessions of ${this.namespace}`),
      h("p", { class: "muted" }, "Name another namespace above, or ask whoever manages this one."), h("p", { class: "muted", testid: "refused" }, why)));
  }

  private show(sessions: Session[]): void {
    if (this.closed) return;
    const now = Date.now();
    sessions.sort((a, b) => b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp) || a.metadata.name.localeCompare(b.metadata.name));
    this.rows.update(sessions.map((s) => ({
      name: s.metadata.name,
      goal: s.spec.goal ?? (s.spec.source ? `Continues ${s.spec.source.snapshot}` : s.status?.state === "Chatting" ? "Talks about what is wanted" : ""),
      state: stateWord(s),
      doing: s.status?.doing ?? "",
      waits: s.status?.requests ? (s.status.waitingFor ?? "") : "",
      environment: s.status?.environment ?? s.spec.environment ?? "",
      turn: s.status?.turn ? `turn ${s.status.turn}` : "",
      age: age(s.metadata.creationTimestamp, now),
    })));
    setText(this.count, sessions.length > 0 ? String(sessions.length) : "");
    fill(this.empty, sessions.length === 0 && h("div", { class: "card hint" }, h("h2", {}, "No session yet"),
      h("p", { class: "muted" }, this.shell.me.readOnly ? `Nobody has started one in ${this.namespace}.` : "Say what is to be done; an agent gets a desktop of its own and begins.")));
  }

  private row(row: Row): HTMLElement {
    const link = h("a", { class: "row", href: hashFor(this.namespace, row.name), testid: `session-row-${row.name}` },
      h("span", { class: `badge ${tone(row.state)}` }, row.state),
      h("span", { class: "what" }, h("strong", {}, row.name), h("span", { class: "goal" }, row.goal)),
      h("span", { class: "doing" }, row.waits !== "" && h("span", { class: "tag waits" }, row.waits), row.doing),
      h("span", { class: "meta" }, row.environment), h("span", { class: "meta" }, row.turn), h("span", { class: "meta age" }, row.age));
    if (this.shell.me.readOnly) return h("li", {}, link);
    const remove = h("button", { class: "ghost small", type: "button", testid: `delete-${row.name}`, "aria-label": `Delete session ${row.name}`, title: "Delete",
      on: () => {
        if (!confirm(`Delete session ${row.name} and its desktop? Snapshots and artifacts stay.`)) return;
        void acting(remove, () => api.remove(this.namespace, row.name)).then(() => this.refresh());
      } }, icon("trash"));
    return h("li", {}, link, remove);
  }
}
