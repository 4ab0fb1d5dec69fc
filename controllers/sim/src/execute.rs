//! Carries plans out: operations in order, then the status. Any step may be the last before a crash.

use a8s_plan::{Effect, Op, Plan, Target};
use a8s_wire::SetControl;
use serde::Serialize;
use serde_json::{Value, json};

use crate::{By, Key, Sim, SimError};

impl Sim {
    /// Steps in order; the first that fails ends it.
    pub fn execute(&mut self, ops: &[Op]) -> Result<(), SimError> {
        ops.iter().try_for_each(|op| {
            self.survive()?;
            self.step(op)
        })
    }

    /// A whole plan for `object`.
    pub fn carry_out<S: Serialize>(&mut self, object: &Target, plan: &Plan<S>) -> Result<(), SimError> {
        self.by = By::Plan(object.uid.clone());
        let done = self.whole(object, plan);
        self.by = By::Other;
        done
    }

    fn whole<S: Serialize>(&mut self, object: &Target, plan: &Plan<S>) -> Result<(), SimError> {
        self.execute(&plan.ops)?;
        let Some(status) = &plan.status else { return Ok(()) };
        self.survive()?;
        let status =
            serde_json::to_value(status).map_err(|_| SimError::Invalid("a status that is not JSON"))?;
        match self.set_status(&Key::from(object), &object.uid, status) {
            // The last step took the object's finalizer.
            Err(SimError::NotFound(_)) => Ok(()),
            other => other,
        }
    }

    fn survive(&mut self) -> Result<(), SimError> {
        if self.crash_in == Some(0) {
            self.crash_in = None;
            return Err(SimError::Crashed);
        }
        self.crash_in = self.crash_in.map(|left| left - 1);
        self.steps += 1;
        Ok(())
    }

    fn step(&mut self, op: &Op) -> Result<(), SimError> {
        match op {
            Op::Apply { object, manager } => self.apply(object.clone(), &format!("a8s/{manager}")),
            Op::Create { object } => match self.create(object.clone()) {
                Err(SimError::AlreadyExists(key)) if self.same(&key, object) => Ok(()),
                other => other.map(drop),
            },
            Op::Delete { target, grace } => {
                match self.delete(&Key::from(target), Some(&target.uid), *grace) {
                    Err(SimError::NotFound(_) | SimError::Conflict(..)) => Ok(()),
                    other => other,
                }
            }
            Op::DeleteUnchanged { target, version } => {
                let key = Key::from(target);
                match self.unchanged(&key, &target.uid, version).and_then(|()| self.delete(&key, None, None))
                {
                    Err(SimError::NotFound(_) | SimError::Conflict(..)) => Ok(()),
                    other => other,
                }
            }
            Op::Swap { target, version, patch } => {
                let key = Key::from(target);
                self.unchanged(&key, &target.uid, version)?;
                self.patch(&key, patch)
            }
            Op::Merge { target, patch } => {
                let key = Key::from(target);
                let same =
                    self.get(&key).is_some_and(|found| found["metadata"]["uid"] == target.uid.as_str());
                if same { self.patch(&key, patch) } else { Ok(()) }
            }
            Op::Finalizer { target, finalizer, present } => {
                self.finalize(&Key::from(target), &target.uid, finalizer, *present)
            }
            Op::Effect(effect) => self.take_effect(effect),
        }
    }

    /// Whether what is there is what an earlier attempt made.
    fn same(&self, key: &Key, wanted: &Value) -> bool {
        let Some(found) = self.get(key) else { return false };
        match controller(wanted) {
            Some(uid) => controller(found) == Some(uid),
            None => found["spec"] == wanted["spec"],
        }
    }

    fn take_effect(&mut self, effect: &Effect) -> Result<(), SimError> {
        match effect {
            Effect::ServingSecret { owner, name } => {
                let secret = json!({
                    "apiVersion": "v1", "kind": "Secret",
                    "metadata": {"name": name, "namespace": owner.namespace, "ownerReferences": [{
                        "apiVersion": owner.api_version, "kind": owner.kind, "name": owner.name, "uid": owner.uid, "controller": true,
                    }]},
                });
                self.step(&Op::Create { object: secret })
            }
            Effect::SetControl { workspace, lease } => self.set_control(workspace, lease),
            Effect::StoreContent { sha256, key, .. } => {
                self.stored.insert(key.clone(), sha256.clone());
                Ok(())
            }
            Effect::DeleteContent { key } => {
                self.stored.remove(key);
                Ok(())
            }
            Effect::Quiesce { workspace } => self
                .desk(&workspace.uid)
                .map(drop)
                .ok_or_else(|| SimError::Unavailable("the runner".to_owned())),
        }
    }

    fn set_control(&mut self, workspace: &Target, lease: &SetControl) -> Result<(), SimError> {
        let since = self.second();
        let held =
            self.desks.get_mut(&workspace.uid).ok_or_else(|| SimError::Unavailable("deskd".to_owned()))?;
        if lease.epoch < held.epoch {
            return Err(SimError::Conflict(Key::from(workspace), "the lease is older than the held one"));
        }
        let SetControl { holder, user, private, epoch } = lease.clone();
        (held.holder, held.user, held.private, held.epoch, held.since) =
            (holder, user, private, epoch, since);
        Ok(())
    }
}

fn controller(object: &Value) -> Option<&Value> {
    let owners = object["metadata"]["ownerReferences"].as_array()?;
    owners.iter().find(|r| r["controller"] == true).map(|r| &r["uid"])
}
