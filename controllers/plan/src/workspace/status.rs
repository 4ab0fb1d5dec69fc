//! The status that comes out of a pass, built from the old one, so that nothing is written when nothing changed.

use a8s_crds::{
    ControlStatus, StorageStatus, WorkspaceState, WorkspaceStatus,
    conditions::{self, ConditionType, Reason, Status},
};
use a8s_wire::{RunnerPhase, RunnerState};
use jiff::Timestamp;
use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};

use super::{Hold, Observed, RESTORED_FROM, Wanted, children, control, life, lost, timing, trouble, volume};
use crate::{Env, Notice, Op, Plan, Wake};

/// A status under construction.
pub(crate) struct Draft<'a> {
    observed: &'a Observed,
    /// The status as it will be.
    pub status: WorkspaceStatus,
    /// Since when no pod has used the volume, if that is of interest.
    pub quiet: Option<Time>,
    now: Timestamp,
    env: Env,
    wanted: Wanted,
    hold: Option<Hold>,
    notices: Vec<Notice>,
}

impl<'a> Draft<'a> {
    pub fn new(observed: &'a Observed, env: &Env) -> Self {
        let mut status = observed.workspace.status.clone().unwrap_or_default();
        let wanted = life::wanted(observed, env);
        let leaving = observed.deleted_at().is_some();
        let notices = if leaving { Vec::new() } else { life::settle(observed, env, wanted, &mut status) };
        Self { observed, status, now: env.now, wanted, hold: None, quiet: None, notices, env: env.clone() }
    }

    /// Notes why it does not go on. The first reason counts: what comes later mostly follows from it.
    pub fn hold(&mut self, hold: Hold) {
        self.hold.get_or_insert(hold);
    }

    pub fn held(&self) -> bool {
        self.hold.is_some()
    }

    pub fn notice(&mut self, warning: bool, reason: Reason, note: impl Into<String>) {
        self.notices.push(Notice { warning, reason, note: note.into() });
    }

    /// A start is asked for: the clock of the stages begins anew.
    pub fn begin_start(&mut self, resumed: bool) {
        self.status.startup = Some(timing::begin(self.observed, resumed, self.now));
    }

    /// What deskd confirmed; without a pod nobody holds anything.
    pub fn control(&mut self, confirmed: Option<ControlStatus>) {
        if self.observed.pod.is_none() {
            self.status.control = None;
        } else if let Some(new) = confirmed {
            self.notices.extend(control::notice(self.status.control.as_ref(), &new));
            self.status.control = Some(new);
        }
    }

    fn is(&self, kind: ConditionType) -> bool {
        conditions::is_true(&self.status.conditions, kind)
    }

    fn set(&mut self, kind: ConditionType, result: &Result<(), Hold>) {
        let (status, reason, message) = match result {
            Ok(()) => (Status::True, Reason::Ready, ""),
            Err(hold) => (Status::False, hold.reason, hold.message.as_str()),
        };
        let generation = self.observed.workspace.metadata.generation;
        conditions::set(&mut self.status.conditions, kind, status, reason, message, generation, self.now);
    }

    /// Writes the conditions from what was observed, and the facts beside them.
    pub fn conditions(&mut self) {
        let observed = self.observed;
        self.status.observed_generation = observed.workspace.metadata.generation;
        if observed.own_claim().is_some() {
            self.status.epoch = children::known_epoch(observed);
        }
        self.storage_facts();
        let pod = observed.own_pod();
        self.status.pod = pod.and_then(|p| p.metadata.name.clone());
        self.status.node = pod.and_then(|p| p.spec.as_ref()?.node_name.clone());
        self.status.host = pod.and_then(|p| p.status.as_ref()?.pod_ip.clone());

        let storage = self.storage();
        let running = self.pod();
        let desktop =
            self.answered("desktop", running.clone(), ConditionType::DesktopReady, desktop(observed));
        let agent = self.answered(
            "runner",
            running.clone(),
            ConditionType::AgentReady,
            agent(observed.runner.as_ref()),
        );
        let parts = [
            (ConditionType::StorageReady, storage),
            (ConditionType::PodReady, running),
            (ConditionType::DesktopReady, desktop),
            (ConditionType::AgentReady, agent),
        ];
        // A claim that waits for its pod says less than why that pod cannot run.
        let broken: Vec<_> = parts.iter().filter_map(|(_, result)| result.as_ref().err()).collect();
        let broken = broken.iter().find(|hold| hold.stalled).or(broken.first()).map(|hold| (*hold).clone());
        for (kind, result) in &parts {
            self.set(*kind, result);
        }
        self.by_probe(ConditionType::DesktopReady, observed.desk.is_none());
        self.by_probe(ConditionType::AgentReady, observed.runner.is_none());
        self.ran_out();
        let hold = self.hold.take().or(broken);
        self.clock(hold.is_none());
        self.ready(hold);
    }

    /// Says so if a condition rests on the kubelet's probe alone, unless the process itself has answered before.
    fn by_probe(&mut self, kind: ConditionType, silent: bool) {
        const TEXT: &str =
            "The kubelet's probe succeeds; the process has not answered the control plane yet.";
        let before = self.observed.workspace.status.as_ref();
        let before = before.and_then(|s| conditions::get(&s.conditions, kind));
        let answered = before.is_some_and(|c| c.status == "True" && c.message.is_empty());
        let condition =
            self.status.conditions.iter_mut().find(|c| c.type_ == kind.as_str() && c.status == "True");
        if let Some(condition) = condition.filter(|_| silent && !answered) {
            condition.message = TEXT.into();
        }
    }

    /// A container that ran out of memory runs again before anybody has looked; it is said all the same.
    fn ran_out(&mut self) {
        let text = self.observed.own_pod().and_then(trouble::ran_out);
        let all = self.status.conditions.iter_mut();
        let condition =
            all.into_iter().find(|c| c.type_ == ConditionType::PodReady.as_str() && c.status == "True");
        let (Some(text), Some(condition)) = (text, condition) else { return };
        condition.message.clone_from(&text);
        let before = self.observed.workspace.status.as_ref();
        let known = before.and_then(|s| conditions::get(&s.conditions, ConditionType::PodReady));
        if known.is_none_or(|c| c.message != text) {
            self.notice(true, Reason::OutOfMemory, text);
        }
    }

    fn ready(&mut self, hold: Option<Hold>) {
        let before = conditions::get(&self.status.conditions, ConditionType::Ready).cloned();
        let was_stalled = self.is(ConditionType::Stalled);
        let result = hold.map_or(Ok(()), Err);
        self.set(ConditionType::Ready, &result);
        match &result {
            Ok(()) => {
                conditions::clear(&mut self.status.conditions, ConditionType::Stalled);
                if before.is_none_or(|c| c.status != "True") {
                    let total =
                        |status: &WorkspaceStatus| status.startup.as_ref().and_then(|s| s.total.clone());
                    let started = self.observed.workspace.status.as_ref().and_then(total).is_some();
                    let text = match total(&self.status).filter(|_| !started) {
                        Some(total) => format!("The desktop is ready after {total}."),
                        None => "The desktop is ready again.".to_owned(),
                    };
                    self.notice(false, Reason::Ready, text);
                }
            }
            Err(hold) if hold.stalled => {
                let stalled = conditions::get(&self.status.conditions, ConditionType::Stalled);
                let known = was_stalled && stalled.is_some_and(|c| c.reason == hold.reason.as_str());
                let generation = self.observed.workspace.metadata.generation;
                let (kind, all) = (ConditionType::Stalled, &mut self.status.conditions);
                conditions::set(
                    all,
                    kind,
                    Status::True,
                    hold.reason,
                    hold.message.clone(),
                    generation,
                    self.now,
                );
                if !known {
                    self.notice(true, hold.reason, hold.message.clone());
                }
            }
            Err(_) => conditions::clear(&mut self.status.conditions, ConditionType::Stalled),
        }
        self.status.state = Some(self.word(&result).to_owned());
    }

    fn word(&self, result: &Result<(), Hold>) -> &'static str {
        let observed = self.observed;
        let suspend = self.wanted.state != WorkspaceState::Running;
        match result {
            _ if observed.deleted_at().is_some() => "Deleting",
            Ok(()) => "Running",
            Err(hold) if hold.stalled => "Stalled",
            Err(hold) if hold.reason == Reason::Archived => "Archived",
            Err(hold) if hold.reason == Reason::Archiving => "Archiving",
            Err(hold) if hold.reason == Reason::Restoring => "Restoring",
            Err(_) if suspend && observed.pod.is_none() => "Suspended",
            Err(_) if suspend => "Suspending",
            Err(_) if observed.pod.is_none() && observed.claim.is_none() => "Pending",
            Err(_) => "Starting",
        }
    }

    fn storage_facts(&mut self) {
        if let Some(claim) = self.observed.own_claim() {
            let generation = Some(volume::generation(claim));
            if self.status.storage.as_ref().is_some_and(|s| s.generation != generation) {
                self.status.receipt = None;
            }
            self.status.storage = Some(StorageStatus {
                claim: claim.metadata.name.clone().unwrap_or_default(),
                restored_from: volume::note(claim, RESTORED_FROM).map(str::to_owned),
                generation,
                quiet_since: self.quiet.take(),
            });
        }
    }

    fn storage(&self) -> Result<(), Hold> {
        let pending = |text: String| Err(Hold::wait(Reason::ClaimPending, text));
        let Some(claim) = volume::current(self.observed) else {
            return match volume::archive(self.observed) {
                Some(archive) => Err(Hold::wait(
                    Reason::Archived,
                    format!("The Snapshot {archive} stands for the volume."),
                )),
                None => pending("There is no claim yet.".to_owned()),
            };
        };
        match claim.status.as_ref().and_then(|s| s.phase.as_deref()) {
            Some("Bound") => Ok(()),
            Some("Lost") => Err(Hold::stalled(Reason::ClaimLost, "The volume of the claim is gone.")),
            _ => pending(match &self.observed.warning {
                Some(warning) => format!("The claim is not bound: {warning}"),
                None => "The claim is not bound yet.".to_owned(),
            }),
        }
    }

    fn pod(&self) -> Result<(), Hold> {
        if self.wanted.state != WorkspaceState::Running {
            return Err(life::rest(self.observed, self.wanted));
        }
        match self.observed.own_pod() {
            None => Err(Hold::wait(Reason::PodStarting, "There is no pod yet.")),
            Some(_) if let Some(hold) = lost::hold(self.observed) => Err(hold),
            Some(pod) if trouble::leaving(pod) => Err(Hold::wait(Reason::PodStarting, trouble::going(pod))),
            Some(pod) => match trouble::ended(pod) {
                Some(why) => Err(Hold::wait(Reason::PodFailed, why)),
                None if trouble::running(pod) => Ok(()),
                None => Err(trouble::diagnose(pod, self.observed.warning.as_deref(), self.now)),
            },
        }
    }

    /// What the process says counts. One that says nothing to the control plane is believed to be well while the kubelet's probe of the
    /// same question, `/healthz`, succeeds.
    fn answered(
        &self,
        container: &str,
        running: Result<(), Hold>,
        kind: ConditionType,
        answer: Option<Result<(), Hold>>,
    ) -> Result<(), Hold> {
        running?;
        let probed = self.observed.own_pod().is_some_and(|pod: &Pod| trouble::probed(pod, container));
        match answer {
            Some(answer) => answer,
            None if probed => Ok(()),
            None if kind == ConditionType::DesktopReady => {
                Err(Hold::wait(Reason::DesktopStarting, "The desktop does not answer yet."))
            }
            None => Err(Hold::wait(Reason::AgentStarting, "The runner does not answer yet.")),
        }
    }

    fn clock(&mut self, ready: bool) {
        let status = &mut self.status;
        if let Some(startup) = status.startup.as_mut() {
            timing::note(self.observed, startup, &status.conditions, ready, self.now);
        }
    }

    /// The plan; a status that says what is known already is not written.
    pub fn finish(self, ops: Vec<Op>, wake: Wake) -> Plan<WorkspaceStatus> {
        let changed = self.observed.workspace.status.as_ref() != Some(&self.status);
        let wake = match (wake, life::next(self.observed, &self.env, self.wanted, &self.status)) {
            (Wake::AfterMillis(one), Some(other)) => Wake::AfterMillis(one.min(other)),
            (Wake::OnChange, Some(other)) => Wake::AfterMillis(other),
            (wake, None) => wake,
        };
        Plan { ops, status: changed.then_some(self.status), wake, notices: self.notices }
    }
}

fn desktop(observed: &Observed) -> Option<Result<(), Hold>> {
    let starting = || Hold::wait(Reason::DesktopStarting, "Display, window manager or panel are not up yet.");
    observed.desk.as_ref().map(|desk| if desk.ready { Ok(()) } else { Err(starting()) })
}

fn agent(runner: Option<&RunnerState>) -> Option<Result<(), Hold>> {
    let runner = runner?;
    if runner.volume_full {
        let text = "The volume is full; take control and delete files in the desktop. It goes on by itself when 16 MiB are free.";
        return Some(Err(Hold::stalled(Reason::VolumeFull, text)));
    }
    Some(match runner.state {
        RunnerPhase::Idle | RunnerPhase::Running => Ok(()),
        RunnerPhase::Starting => {
            Err(Hold::wait(Reason::AgentStarting, "The agent's program is being started."))
        }
        RunnerPhase::Failed => {
            let why = runner.reason.clone().unwrap_or_else(|| "the runner does not say why".to_owned());
            let low = why.to_lowercase();
            Err(if low.contains("no space left") || low.contains("quota exceeded") {
                Hold::stalled(
                    Reason::VolumeFull,
                    format!("The volume is full; delete files in the desktop: {why}"),
                )
            } else {
                Hold::stalled(Reason::AgentFailed, format!("The agent's program cannot be started: {why}"))
            })
        }
    })
}
