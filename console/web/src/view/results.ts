// What the Session made: artifacts with all their versions, and Snapshots to go on from.

import { api } from "../api.ts";
import { h, icon, KeyedList, visible } from "../dom.ts";
import { age, bytes } from "../format.ts";
import { artifactGroups, emptyModel, type Model } from "../model.ts";
import { RECORDING } from "../replay/load.ts";
import { condition, isTrue, type Artifact, type Snapshot } from "../types.ts";
import { newSession } from "./new-session.ts";
import { play } from "./player.ts";

interface ArtifactRow {
  name: string;
  versions: { object: string; version: number; title: string; file: string; type: string; size: string; ready: boolean; why: string }[];
}

interface SnapshotRow {
  name: string;
  ready: boolean;
  failed: boolean;
  words: string;
}

export class Results {
  readonly element: HTMLElement;
  private readonly artifacts: KeyedList<ArtifactRow>;
  private readonly snapshots: KeyedList<SnapshotRow>;
  private readonly artifactBox: HTMLElement;
  private readonly snapshotBox: HTMLElement;
  private readonly nothing = h("p", { class: "muted" }, "Nothing published yet. Files the agent publishes appear here.");

  private model = emptyModel();

  constructor(
    private readonly namespace: string,
    private readonly readOnly: boolean,
  ) {
    const artifacts = h("ul", { class: "strip", "aria-label": "Artifacts" });
    const snapshots = h("ul", { class: "strip", "aria-label": "Snapshots" });
    this.artifacts = new KeyedList(artifacts, (row) => row.name, (row) => this.artifact(row));
    this.snapshots = new KeyedList(snapshots, (row) => row.name, (row) => snapshot(row, readOnly, namespace));
    this.artifactBox = h("section", {}, h("h2", {}, "Artifacts"), this.nothing, artifacts);
    this.snapshotBox = h("section", {}, h("h2", {}, "Snapshots"), snapshots);
    this.element = h("div", { class: "results" }, this.artifactBox, this.snapshotBox);
  }

  update(model: Model, now: number): void {
    this.model = model;
    const groups = artifactGroups(model);
    visible(this.nothing, groups.length === 0);
    this.artifacts.update(groups.map(({ name, versions }) => ({ name, versions: versions.map(version) })));
    const snapshots = [...model.snapshots.values()].sort((a, b) => b.metadata.creationTimestamp.localeCompare(a.metadata.creationTimestamp));
    visible(this.snapshotBox, snapshots.length > 0);
    this.snapshots.update(snapshots.map((s) => snapshotRow(s, now)));
  }

  private artifact(row: ArtifactRow): HTMLElement {
    const [newest, ...older] = row.versions;
    if (!newest) return h("li");
    const link = (v: ArtifactRow["versions"][number], props: Record<string, string>, ...children: (Node | string)[]): HTMLElement =>
      v.ready ? h("a", { ...props, href: api.artifactUrl(this.namespace, v.object), download: v.file }, ...children)
        : h("span", { ...props, class: `${props.class ?? ""} waiting`, title: v.why || "being stored" }, ...children);
    const recorded = newest.type === RECORDING && newest.ready;
    const what = h("span", { class: "what" }, h("strong", {}, newest.title), h("span", { class: "muted" }, `${newest.file} · ${newest.size}`));
    const tile = recorded
      ? h("button", { class: "tile", type: "button", testid: `play-${row.name}`, title: "Play the recording", on: () => play({ namespace: this.namespace, object: newest.object, title: newest.title, file: newest.file, readOnly: this.readOnly, model: () => this.model }) }, icon("film"), what, icon("play"))
      : link(newest, { class: "tile", testid: `artifact-${row.name}` }, icon("file"), what, icon("download"));
    return h("li", { class: "artifact" }, tile,
      h("div", { class: "versions" }, recorded ? link(newest, { class: "tag older", testid: `artifact-${row.name}` }, `v${newest.version} download`) : h("span", { class: "tag" }, `v${newest.version}`),
        ...older.map((v) => link(v, { class: "tag older", testid: `artifact-${row.name}-v${v.version}`, "aria-label": `Download version ${v.version}` }, `v${v.version}`))));
  }
}

function version(artifact: Artifact): ArtifactRow["versions"][number] {
  const { spec } = artifact;
  return {
    object: artifact.metadata.name, version: spec.version, title: spec.title || spec.name, file: spec.fileName, type: spec.mediaType,
    size: bytes(spec.size), ready: isTrue(artifact, "Ready"), why: condition(artifact, "Ready")?.message ?? "",
  };
}

function snapshotRow(s: Snapshot, now: number): SnapshotRow {
  const ready = isTrue(s, "Ready");
  const failed = isTrue(s, "Stalled");
  const turn = s.status?.checkpoint ? `turn ${s.status.checkpoint.turn}` : "";
  const state = ready ? (s.status?.consistency ?? "") : failed ? (condition(s, "Stalled")?.message ?? "failed") : "being taken";
  const words = [turn, state, s.status?.restoreSize ?? "", `${age(s.status?.takenAt ?? s.metadata.creationTimestamp, now)} ago`];
  return { name: s.metadata.name, ready, failed, words: words.filter((w) => w !== "").join(" · ") };
}

function snapshot(row: SnapshotRow, readOnly: boolean, namespace: string): HTMLElement {
  return h("li", { class: "snapshot", testid: `snapshot-${row.name}` }, icon("save"),
    h("span", { class: "what" }, h("strong", {}, row.name), h("span", { class: row.failed ? "bad-text" : "muted" }, row.words)),
    !readOnly && row.ready && h("button", { class: "small", type: "button", testid: `fork-${row.name}`, title: "New session that starts here", on: () => newSession(namespace, row.name) }, icon("fork"), "Fork"));
}
