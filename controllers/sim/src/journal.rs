//! What was written, by whom and what it led to, for judges that look at every single write and not only at the end.

use serde_json::Value;

use crate::{Key, Sim, View};

/// Who wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum By {
    /// Anybody else: people, the kubelet, drivers.
    #[default]
    Other,
    /// A plan for the object with this UID.
    Plan(String),
    /// The garbage collector.
    Garbage,
}

/// One write that changed something.
#[derive(Clone, Debug)]
pub struct Change {
    /// The object.
    pub key: Key,
    /// Who wrote.
    pub by: By,
    /// Everything as it was before the write.
    pub earlier: View,
    /// Everything as it is after the write.
    pub view: View,
}

impl Change {
    /// The object before; nothing if it was created.
    pub fn before(&self) -> Option<&Value> {
        self.earlier.value(&self.key)
    }

    /// The object after; nothing if it is gone.
    pub fn after(&self) -> Option<&Value> {
        self.view.value(&self.key)
    }

    /// Whether the object began to go with this write, or went at once.
    pub fn deletes(&self) -> bool {
        let going = |o: &Value| o["metadata"]["deletionTimestamp"].is_string();
        self.before().is_some_and(|b| !going(b)) && self.after().is_none_or(going)
    }
}

impl Sim {
    /// From now on every write is kept until somebody asks for it.
    pub fn keep_journal(&mut self) {
        self.journal.get_or_insert_default();
    }

    /// What was written since it was last asked.
    pub fn written(&mut self) -> Vec<Change> {
        self.journal.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Notes the change of an object, which is done.
    pub(crate) fn note(&mut self, key: &Key) {
        let earlier = self.history.back().cloned().unwrap_or_default();
        let change = Change { key: key.clone(), by: self.by.clone(), earlier, view: self.view() };
        if let Some(journal) = &mut self.journal {
            journal.push(change);
        }
    }
}
