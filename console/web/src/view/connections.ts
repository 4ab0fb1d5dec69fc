// The Connections of a namespace: what they are and whether they work. Their keys are in Secrets, and nothing of them comes to this page.

import { api } from "../api.ts";
import { h, KeyedList, setText, visible } from "../dom.ts";
import type { ConnectionInfo } from "../types.ts";

export class Connections {
  readonly element: HTMLDetailsElement;
  private readonly rows: KeyedList<ConnectionInfo>;
  private readonly count = h("span", { class: "muted" });

  constructor(private readonly namespace: string) {
    const list = h("ul", { class: "connections", "aria-label": "Connections" });
    this.rows = new KeyedList(list, (one) => one.name, row);
    this.element = h("details", { class: "section", testid: "connections" }, h("summary", {}, h("h2", {}, "Connections"), this.count), list);
    visible(this.element, false);
  }

  /** Asks for them. Whoever may not see them is not told that there are any. */
  async load(): Promise<void> {
    let all: ConnectionInfo[];
    try {
      all = await api.connections(this.namespace);
    } catch {
      return;
    }
    this.rows.update(all.sort((a, b) => a.name.localeCompare(b.name)));
    setText(this.count, String(all.length));
    visible(this.element, all.length > 0);
  }
}

function row(one: ConnectionInfo): HTMLElement {
  return h("li", { testid: `connection-${one.name}` },
    h("span", { class: `badge ${one.ready ? "good" : "bad"}` }, one.ready ? "ready" : "not ready"),
    h("span", { class: "what" }, h("strong", {}, one.title ?? one.name), h("span", { class: "muted" }, [one.title ? one.name : "", one.kind ?? "", one.target ?? ""].filter((part) => part !== "").join(" · ")),
      !one.ready && !!one.message && h("span", { class: "bad-text" }, one.message)),
    h("span", { class: "meta" }, one.grant === "Auto" ? "granted by itself" : "a person grants it"));
}
