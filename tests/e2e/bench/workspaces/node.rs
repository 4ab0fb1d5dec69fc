//! The real node: a Workspace against a bare pod of the same image with a volume, a Snapshot against a bare VolumeSnapshot of the same
//! volume, restores and forks against a claim made from that and a pod. The two sides of a pair take turns, so that both meet the same
//! machine.

use std::time::Instant;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::{
    objects::{OURS, Objects, is_true, millis},
    table::{Figures, Report, Row, raw},
};

const SNAPSHOTS: &str = "snapshot.storage.k8s.io/v1";
const SOURCE: &str = "source";

/// All pairs.
pub async fn measure(objects: &Objects, rounds: usize, report: &mut Report) -> Result<()> {
    let desktop = objects.cluster_wide(OURS, "Environment").get("desktop").await?;
    let image = desktop.data["spec"]["image"].as_str().context("an Environment has an image")?.to_owned();
    let node = Node { objects, image };
    // The first of each kind reads the image from disk; it is not counted.
    node.pod_with_new_claim("bare-warm-up", None).await?;
    node.gone("bare-warm-up").await?;
    node.workspace("warm-up", &json!({})).await?;
    objects.delete(OURS, "Workspace", "warm-up").await?;

    let bare = node.starts(rounds, report).await?;
    node.resumes(rounds, report).await?;
    node.workspace(SOURCE, &json!({})).await?;
    node.snapshots(rounds, report).await?;
    node.restores(rounds, report).await?;
    node.forks(rounds, report).await?;
    node.in_place(rounds, report).await?;
    node.archives(rounds, bare, report).await?;
    objects.delete(OURS, "Workspace", SOURCE).await
}

struct Node<'a> {
    objects: &'a Objects,
    image: String,
}

impl Node<'_> {
    /// From nothing to a desktop. Returns the median of the bare pods.
    async fn starts(&self, rounds: usize, report: &mut Report) -> Result<f64> {
        let mut both = Pair::default();
        for round in 0..rounds {
            let name = format!("bare-{round}");
            both.bare.push(self.pod_with_new_claim(&name, None).await?);
            self.gone(&name).await?;
            let name = format!("cold-{round}");
            both.ours.push(self.workspace(&name, &json!({})).await?);
            self.objects.delete(OURS, "Workspace", &name).await?;
        }
        let bare =
            both.report("Workspace, cold start to the desktop", "bare pod and claim", Some(300.0), report);
        Ok(bare)
    }

    /// From a kept volume to a desktop.
    async fn resumes(&self, rounds: usize, report: &mut Report) -> Result<()> {
        self.pod_with_new_claim("bare-kept", None).await?;
        self.objects.delete("v1", "Pod", "bare-kept").await?;
        self.workspace("sleeper", &json!({})).await?;
        let mut both = Pair::default();
        for _ in 0..rounds {
            both.bare.push(self.pod("bare-kept").await?);
            self.objects.delete("v1", "Pod", "bare-kept").await?;
            self.rest("sleeper", "Suspended").await?;
            both.ours.push(self.wake("sleeper").await?);
        }
        both.report("Workspace, suspended to interactive", "bare pod on its claim", Some(500.0), report);
        self.objects.delete("v1", "PersistentVolumeClaim", "bare-kept").await?;
        self.objects.delete(OURS, "Workspace", "sleeper").await
    }

    async fn snapshots(&self, rounds: usize, report: &mut Report) -> Result<()> {
        let mut both = Pair::default();
        for round in 0..rounds {
            both.bare.push(self.volume_snapshot(&format!("plain-{round}")).await?);
            both.ours.push(self.snapshot(&format!("ours-{round}")).await?);
        }
        both.report("Snapshot of a running desktop, to Ready", "bare VolumeSnapshot", Some(50.0), report);
        Ok(())
    }

    /// A new desktop from a Snapshot.
    async fn restores(&self, rounds: usize, report: &mut Report) -> Result<()> {
        let mut both = Pair::default();
        for round in 0..rounds {
            let name = format!("bare-restored-{round}");
            let from =
                json!({"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": "plain-0"});
            both.bare.push(self.pod_with_new_claim(&name, Some(&from)).await?);
            self.gone(&name).await?;
            let name = format!("restored-{round}");
            both.ours.push(self.workspace(&name, &json!({"source": {"snapshot": "ours-0"}})).await?);
            self.objects.delete(OURS, "Workspace", &name).await?;
        }
        both.within("Workspace from a Snapshot, to interactive", "bare claim from it, pod", 5000.0, report);
        Ok(())
    }

    /// A copy of a desktop that goes on running.
    async fn forks(&self, rounds: usize, report: &mut Report) -> Result<()> {
        let mut both = Pair::default();
        let claim = format!("{SOURCE}-home");
        for round in 0..rounds {
            let name = format!("bare-fork-{round}");
            let from = json!({"kind": "PersistentVolumeClaim", "name": claim});
            both.bare.push(self.pod_with_new_claim(&name, Some(&from)).await?);
            self.gone(&name).await?;
            let name = format!("fork-{round}");
            both.ours.push(self.workspace(&name, &json!({"source": {"workspace": SOURCE}})).await?);
            self.objects.delete(OURS, "Workspace", &name).await?;
        }
        both.within("fork of a running Workspace, to interactive", "bare claim cloned, pod", 5000.0, report);
        Ok(())
    }

    /// The same desktop put back, the safety Snapshot included.
    async fn in_place(&self, rounds: usize, report: &mut Report) -> Result<()> {
        let mut all = Vec::new();
        for round in 0..rounds {
            let id = format!("bench-{round}");
            let begun = Instant::now();
            let order = json!({"spec": {"restore": {"snapshot": "ours-0", "id": id}}});
            self.objects.patch(OURS, "Workspace", SOURCE, order).await?;
            let done = |o: &Value| {
                let restore = &o["status"]["restore"];
                restore["id"] == id.as_str() && restore["phase"] == "Done" && is_true(o, "DesktopReady")
            };
            self.objects.until(OURS, "Workspace", SOURCE, done).await?;
            all.push(millis(begun));
        }
        let what = "Workspace put back in place, safety Snapshot first, to interactive";
        report.note(format!("{what}, ms: {}", raw(&all)));
        report.row(Row::median(what, &all.into(), "ms"));
        Ok(())
    }

    /// From a Snapshot that stands for the volume to a desktop.
    async fn archives(&self, rounds: usize, bare: f64, report: &mut Report) -> Result<()> {
        self.workspace("archived", &json!({})).await?;
        let mut all = Vec::new();
        for _ in 0..rounds {
            self.rest("archived", "Archived").await?;
            all.push(self.wake("archived").await?);
        }
        let what = "Workspace, archived to interactive";
        report.note(format!("{what}, ms: {}", raw(&all)));
        report.row(Row::median(what, &all.into(), "ms").beside("bare pod and claim", bare));
        self.objects.delete(OURS, "Workspace", "archived").await
    }

    /// Claim, then a pod when it is bound: a scheduler that finds it unbound would wait longer than that takes.
    async fn pod_with_new_claim(&self, name: &str, from: Option<&Value>) -> Result<f64> {
        let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
        if let Some(from) = from {
            claim["spec"]["dataSource"] = from.clone();
        }
        let begun = Instant::now();
        self.objects.create(&claim).await?;
        let bound = |o: &Value| o["status"]["phase"] == "Bound";
        self.objects.until("v1", "PersistentVolumeClaim", name, bound).await?;
        self.pod(name).await?;
        Ok(millis(begun))
    }

    async fn pod(&self, name: &str) -> Result<f64> {
        let restricted = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        let security = json!({"runAsNonRoot": true, "runAsUser": 1000, "fsGroup": 1000,
            "fsGroupChangePolicy": "OnRootMismatch", "seccompProfile": {"type": "RuntimeDefault"}});
        let pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {
            "automountServiceAccountToken": false, "terminationGracePeriodSeconds": 0, "securityContext": security,
            "containers": [{"name": "c", "image": self.image, "command": ["sleep", "infinity"],
                "securityContext": restricted, "volumeMounts": [{"name": "home", "mountPath": "/home/agent"}]}],
            "volumes": [{"name": "home", "persistentVolumeClaim": {"claimName": name}}]}});
        let begun = Instant::now();
        self.objects.create(&pod).await?;
        self.objects.until("v1", "Pod", name, |o| is_true(o, "Ready")).await?;
        Ok(millis(begun))
    }

    async fn gone(&self, name: &str) -> Result<()> {
        self.objects.delete("v1", "Pod", name).await?;
        self.objects.delete("v1", "PersistentVolumeClaim", name).await
    }

    /// `DesktopReady` is later than the first picture: window manager and panel are there too, and deskd has said so.
    async fn workspace(&self, name: &str, more: &Value) -> Result<f64> {
        let mut object = json!({"apiVersion": OURS, "kind": "Workspace", "metadata": {"name": name},
            "spec": {"environment": "desktop", "storage": {"size": "1Gi"}}});
        for (key, value) in more.as_object().into_iter().flatten() {
            object["spec"][key] = value.clone();
        }
        let begun = Instant::now();
        self.objects.create(&object).await?;
        self.objects.until(OURS, "Workspace", name, |o| is_true(o, "DesktopReady")).await?;
        Ok(millis(begun))
    }

    async fn rest(&self, name: &str, state: &str) -> Result<()> {
        self.objects.patch(OURS, "Workspace", name, json!({"spec": {"state": state}})).await?;
        let resting = |o: &Value| o["status"]["state"] == state && !is_true(o, "DesktopReady");
        self.objects.until(OURS, "Workspace", name, resting).await
    }

    async fn wake(&self, name: &str) -> Result<f64> {
        let begun = Instant::now();
        self.objects.patch(OURS, "Workspace", name, json!({"spec": {"state": "Running"}})).await?;
        self.objects.until(OURS, "Workspace", name, |o| is_true(o, "DesktopReady")).await?;
        Ok(millis(begun))
    }

    async fn volume_snapshot(&self, name: &str) -> Result<f64> {
        let begun = Instant::now();
        let claim = format!("{SOURCE}-home");
        let object = json!({"apiVersion": SNAPSHOTS, "kind": "VolumeSnapshot", "metadata": {"name": name},
            "spec": {"volumeSnapshotClassName": "a8s-local", "source": {"persistentVolumeClaimName": claim}}});
        self.objects.create(&object).await?;
        let ready = |o: &Value| o["status"]["readyToUse"] == true;
        self.objects.until(SNAPSHOTS, "VolumeSnapshot", name, ready).await?;
        Ok(millis(begun))
    }

    async fn snapshot(&self, name: &str) -> Result<f64> {
        let begun = Instant::now();
        let object = json!({"apiVersion": OURS, "kind": "Snapshot", "metadata": {"name": name},
            "spec": {"workspace": SOURCE}});
        self.objects.create(&object).await?;
        self.objects.until(OURS, "Snapshot", name, |o| is_true(o, "Ready")).await?;
        Ok(millis(begun))
    }
}

/// Both sides of a comparison, in the order in which they were measured.
#[derive(Default)]
struct Pair {
    bare: Vec<f64>,
    ours: Vec<f64>,
}

impl Pair {
    /// `over`: so much more than the bare side is the target. Returns the bare side's median.
    fn report(&self, what: &str, other: &'static str, over: Option<f64>, report: &mut Report) -> f64 {
        let bare = Figures::from(self.bare.clone()).median();
        self.rows(what, other, over.map(|over| bare + over), report);
        bare
    }

    fn within(&self, what: &str, other: &'static str, most: f64, report: &mut Report) {
        self.rows(what, other, Some(most), report);
    }

    fn rows(&self, what: &str, other: &'static str, target: Option<f64>, report: &mut Report) {
        let (bare, ours) = (Figures::from(self.bare.clone()), Figures::from(self.ours.clone()));
        let row = Row::median(what, &ours, "ms").beside(other, bare.median());
        report.row(match target {
            Some(most) => row.target(most),
            None => row,
        });
        report.note(format!("{what}, ms: {}  \n{other}, ms: {}", raw(&self.ours), raw(&self.bare)));
    }
}
