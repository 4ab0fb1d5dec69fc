//! A namespace with one Session: the controllers' passes (gather → plan → check → carry out), and everybody else who acts on it.

use a8s_crds::{Environment, Session, Workspace, names};
use a8s_plan::{Env, Plan, Target, session, workspace};
use a8s_sim::{Key, Sim, View};
use a8s_wire::{DeskState, Holder};
use k8s_openapi::api::core::v1::Secret;
use rand::Rng;
use serde::Serialize;
use serde_json::{Value, json};

use crate::judge::{Judge, Truth};

pub const NS: &str = "team";
pub const NAME: &str = "s";

/// What people want at last.
#[derive(Clone, Copy, Debug, Default)]
pub struct User {
    pub suspended: bool,
    pub terminated: bool,
    pub control: bool,
    pub private: bool,
    pub deleted: bool,
}

impl User {
    pub fn holder(self) -> Option<&'static str> {
        self.control.then_some("jane")
    }
}

pub struct World {
    pub sim: Sim,
    judge: Judge,
    pub seed: u64,
    pub binding: workspace::Binding,
    pub user: User,
    /// UID of the claim, once there is one: it is never replaced.
    claim: Option<String>,
}

pub fn ours(kind: &str) -> Key {
    Key::ours(kind, NS, NAME)
}

pub fn core(kind: &str, name: &str) -> Key {
    Key::new("v1", kind, NS, name)
}

pub fn env(sim: &Sim) -> Env {
    Env { now: sim.now(), runner_image: "runner".into(), system_namespace: "a8s-system".into() }
}

pub fn target(key: &Key, object: &Value) -> Target {
    Target {
        api_version: key.api_version.clone(),
        kind: key.kind.clone(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        uid: object["metadata"]["uid"].as_str().unwrap_or_default().into(),
    }
}

fn workspace_uid(pod: &Value) -> String {
    pod["metadata"]["ownerReferences"][0]["uid"].as_str().unwrap_or_default().to_owned()
}

impl World {
    pub fn new(seed: u64, binding: workspace::Binding) -> Self {
        let mut sim = Sim::new(seed);
        sim.keep_journal();
        Self { sim, judge: Judge::default(), seed, binding, user: User::default(), claim: None }
    }

    pub fn random(seed: u64) -> Self {
        let mut world = Self::new(seed, workspace::Binding::Immediate);
        if world.sim.rng().random() {
            world.binding = workspace::Binding::WaitForFirstConsumer;
        }
        world
    }

    /// The Environment and the Session.
    pub fn start(&mut self) {
        let environment = json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Environment", "metadata": {"name": "desktop"},
            "spec": {"title": "Desktop", "image": "desktop:1"},
        });
        let session = json!({
            "apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "metadata": {"name": NAME, "namespace": NS},
            "spec": {"goal": "g", "environment": "desktop"},
        });
        for object in [environment, session] {
            self.sim.create(object).unwrap();
        }
    }

    /// Writes down what people want, as they would.
    pub fn wish(&mut self) {
        let User { suspended, terminated, deleted, .. } = self.user;
        let state = match (terminated, suspended) {
            (true, _) => "Terminated",
            (_, true) => "Suspended",
            _ => "Active",
        };
        if self.sim.get(&ours("Session")).is_some() {
            let session = json!({
                "apiVersion": "a8s.dev/v1alpha1", "kind": "Session", "metadata": {"name": NAME, "namespace": NS},
                "spec": {"state": state},
            });
            self.sim.apply(session, "kubectl").unwrap();
        }
        if self.sim.get(&ours("Workspace")).is_some() {
            let mut control = json!({"holder": "Agent", "private": false});
            if let Some(user) = self.user.holder() {
                control = json!({"holder": "User", "user": user, "private": self.user.private});
            }
            let workspace = json!({
                "apiVersion": "a8s.dev/v1alpha1", "kind": "Workspace", "metadata": {"name": NAME, "namespace": NS},
                "spec": {"control": control},
            });
            self.sim.apply(workspace, "kubectl").unwrap();
        }
        if deleted {
            let _ = self.sim.delete(&ours("Session"), None, None);
        }
    }

    /// People change their minds, once there is a desktop's volume and the last of what surrounds it: what is suspended before has none
    /// for ever.
    pub fn people(&mut self) {
        let claim = self.sim.get(&core("PersistentVolumeClaim", &names::claim(NAME, 1)));
        let policy = Key::new("networking.k8s.io/v1", "NetworkPolicy", NS, &names::network_policy(NAME));
        if claim.is_none_or(|c| c["status"]["phase"] != "Bound") || self.sim.get(&policy).is_none() {
            return;
        }
        match self.sim.rng().random_range(0..8) {
            0..=2 => self.user.suspended = !self.user.suspended,
            3..=5 => self.user.control = !self.user.control,
            6 => self.user.private = !self.user.private,
            // Rarely: nothing much happens after that.
            _ => self.user.terminated |= self.sim.rng().random_range(0..6) == 0,
        }
        self.wish();
    }

    /// A pass with bad luck: it may see the past, and it may die at any step.
    pub fn pass_somehow(&mut self, pass: impl Fn(&mut Self, &View)) {
        let lag = if self.sim.rng().random_range(0..3) == 0 { self.sim.rng().random_range(0..6) } else { 0 };
        if self.sim.rng().random_range(0..3) == 0 {
            let steps = self.sim.rng().random_range(0..7);
            self.sim.crash_after(steps);
        }
        let view = self.sim.stale(lag);
        pass(self, &view);
    }

    /// Gathers, plans, checks and carries out for the Workspace.
    pub fn workspace_pass(&mut self, view: &View) {
        let Some(mut seen) = view.get::<Workspace>(&ours("Workspace")).map(workspace::Observed::of) else {
            return;
        };
        let name = NAME;
        seen.environment = view.get::<Environment>(&Key::ours("Environment", "", "desktop"));
        seen.binding = self.binding;
        seen.claim = view.get(&core("PersistentVolumeClaim", &names::claim(name, 1)));
        seen.pod = view.get(&core("Pod", &names::pod(name)));
        seen.secret = view.get::<Secret>(&core("Secret", &names::tls_secret(name))).map(|s| s.metadata);
        let policy = Key::new("networking.k8s.io/v1", "NetworkPolicy", NS, &names::network_policy(name));
        seen.network_policy = view.get(&policy);
        // Answers of the processes are never from the past.
        if let Some(control) = self.sim.desk(seen.uid()).cloned() {
            seen.desk =
                Some(DeskState { ready: true, width: 1280, height: 800, control, ..DeskState::default() });
            let runner = json!({"epoch": 0, "seq": 1, "turn": 0, "state": "Idle"});
            seen.runner = Some(serde_json::from_value(runner).unwrap());
        }
        let env = env(&self.sim);
        let plan = workspace::plan(&seen, &env);
        let violations = workspace::check(&seen, &env, &plan);
        assert!(violations.is_empty(), "seed {}: {violations:?}", self.seed);
        self.carry_out(view, &seen.target(), &plan);
        self.claim_stays();
    }

    /// The same for the Session.
    pub fn session_pass(&mut self, view: &View) {
        let Some(value) = view.value(&ours("Session")) else { return };
        let seen = session::Observed {
            environments: view.list("Environment"),
            workspaces: view.list("Workspace"),
            undelivered: view
                .list::<a8s_crds::Message>("Message")
                .iter()
                .filter(|m| m.is_undelivered())
                .count(),
            ..session::Observed::of(view.get::<Session>(&ours("Session")).unwrap())
        };
        let plan = session::plan(&seen, &env(&self.sim));
        let target = target(&ours("Session"), value);
        self.carry_out(view, &target, &plan);
    }

    fn carry_out<S: Serialize>(&mut self, view: &View, target: &Target, plan: &Plan<S>) {
        self.judge.sees(&[view]);
        // Errors are for the next pass; the executor ends this one.
        let _ = self.sim.carry_out(target, plan);
        self.judge.look(&mut self.sim, &Truth::default());
        self.judge.is_content(self.seed);
    }

    /// The Workspace is about to be deleted: another claim is another's.
    pub fn forget_claim(&mut self) {
        self.claim = None;
    }

    fn claim_stays(&mut self) {
        let key = core("PersistentVolumeClaim", &names::claim(NAME, 1));
        let found = self.sim.get(&key).map(|o| o["metadata"]["uid"].as_str().unwrap().to_owned());
        if let (Some(known), Some(found)) = (&self.claim, &found) {
            assert_eq!(known, found, "seed {}: the claim was replaced", self.seed);
        }
        self.claim = found.or(self.claim.take());
    }

    /// Binds the claim, if a pod wants it or its class binds at once.
    pub fn binder(&mut self) {
        let key = core("PersistentVolumeClaim", &names::claim(NAME, 1));
        let Some(claim) = self.sim.get(&key).cloned() else { return };
        let wanted = self.sim.get(&core("Pod", &names::pod(NAME))).is_some();
        if wanted || self.binding == workspace::Binding::Immediate {
            let target = target(&key, &claim);
            self.sim.set_status(&key, &target.uid, json!({"phase": "Bound"})).unwrap();
        }
    }

    /// Starts a pod whose claim is bound; ends one that is deleted.
    pub fn kubelet(&mut self) {
        let key = core("Pod", &names::pod(NAME));
        let Some(pod) = self.sim.get(&key).cloned() else { return };
        let workspace = workspace_uid(&pod);
        if pod["metadata"]["deletionTimestamp"].is_string() {
            self.sim.stop_desk(&workspace);
            return self.sim.finish(&key);
        }
        let claim = self.sim.get(&core("PersistentVolumeClaim", &names::claim(NAME, 1)));
        if pod["status"]["phase"].is_string() || claim.is_none_or(|c| c["status"]["phase"] != "Bound") {
            return;
        }
        let containers: Vec<Value> = pod["spec"]["containers"].as_array().unwrap().iter().map(|c| json!({
            "name": c["name"], "image": c["image"], "imageID": "", "ready": true, "restartCount": 0, "started": true,
            "state": {"running": {}},
        })).collect();
        let uid = target(&key, &pod).uid;
        let status = json!({"phase": "Running", "podIP": "10.0.0.1", "containerStatuses": containers});
        self.sim.set_status(&key, &uid, status).unwrap();
        self.sim.start_desk(&workspace);
    }

    /// The node evicts the pod.
    pub fn pod_fails(&mut self) {
        let key = core("Pod", &names::pod(NAME));
        let Some(pod) = self.sim.get(&key).cloned() else { return };
        let (uid, workspace) = (target(&key, &pod).uid, workspace_uid(&pod));
        self.sim.stop_desk(&workspace);
        self.sim.set_status(&key, &uid, json!({"phase": "Failed", "reason": "Evicted"})).unwrap();
    }

    /// deskd forgets everything.
    pub fn desk_restarts(&mut self) {
        let Some(pod) = self.sim.get(&core("Pod", &names::pod(NAME))).cloned() else { return };
        let workspace = workspace_uid(&pod);
        if self.sim.desk(&workspace).is_some() {
            self.sim.start_desk(&workspace);
        }
    }

    /// Who holds the lease as deskd knows it.
    pub fn lease(&self) -> Option<(Option<&'static str>, bool)> {
        let workspace = self.sim.get(&ours("Workspace"))?;
        let held = self.sim.desk(workspace["metadata"]["uid"].as_str()?)?;
        let user = match held.holder {
            Holder::Agent => None,
            Holder::User => held.user.as_deref().map(|u| if u == "jane" { "jane" } else { "somebody else" }),
        };
        Some((user, held.private))
    }

    /// One round of everybody, without any trouble.
    pub fn everybody(&mut self) {
        self.wish();
        let view = self.sim.view();
        self.session_pass(&view);
        let view = self.sim.view();
        self.workspace_pass(&view);
        self.binder();
        self.kubelet();
        self.sim.collect_garbage();
    }

    /// Rounds until nothing changes any more.
    pub fn settle(&mut self) {
        let mut quiet = 0;
        for _ in 0..200 {
            let version = self.sim.version();
            self.sim.advance(10_000);
            self.everybody();
            quiet = if self.sim.version() == version { quiet + 1 } else { 0 };
            // Long enough for everything that waits for a while.
            if quiet == 8 {
                return;
            }
        }
        panic!("seed {}: no rest after 200 rounds, {:?}", self.seed, self.user);
    }
}
