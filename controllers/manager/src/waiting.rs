//! An index over the cache of Workspaces: which wait in pools, ready to be taken over, and which Workspaces a Session or pool controls.
//! It follows the cache; a Workspace that was just taken is hidden until the cache has heard of it.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use a8s_crds::Workspace;
use a8s_plan::warm_pool::{Member, adoptable, ordinal, owner};
use kube::ResourceExt;

use crate::stores::Kept;

/// Namespace and Environment.
type Shelf = (String, String);

/// The index.
#[derive(Default)]
pub struct WaitingIndex(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    shelves: HashMap<Shelf, BTreeMap<String, Arc<Kept<Workspace>>>>,
    owned: HashMap<String, BTreeMap<String, Arc<Kept<Workspace>>>>,
    /// Of each Workspace: where it is on a shelf, whose it is.
    known: HashMap<String, (Option<Shelf>, Option<String>)>,
    /// By namespace and the name without its last part: members of a pool, whoever has them now, and what has such a name by chance.
    made: HashMap<Shelf, BTreeMap<String, Arc<Made>>>,
    hidden: HashSet<String>,
}

/// A Workspace with a name as a pool gives them. A pool looks at all of its own again and again; this is what it reads.
#[derive(Debug)]
pub struct Made {
    /// Its name.
    pub name: String,
    /// What it is to its controller, if a pool numbered it.
    member: Option<Member>,
    owner: Option<String>,
}

impl Made {
    fn of(workspace: &Workspace) -> Self {
        let owner = owner(workspace);
        let member = ordinal(workspace).map(|_| Member::of(workspace, owner.unwrap_or_default()));
        Self { name: workspace.name_any(), member, owner: owner.map(str::to_owned) }
    }

    /// The member of this pool that it is.
    pub fn member_of(&self, pool: &str, uid: &str) -> Option<Member> {
        let member = self.member.clone().filter(|member| member.is_of(pool, uid))?;
        Some(Member { waiting: member.waiting && self.owner.as_deref() == Some(uid), ..member })
    }
}

impl WaitingIndex {
    /// Takes in a change of the cache.
    pub fn update(&self, workspace: &Workspace, kept: &Arc<Kept<Workspace>>, gone: bool) {
        let uid = workspace.uid().unwrap_or_default();
        let inner = &mut *self.inner();
        inner.hidden.remove(&uid);
        if let Some((shelf, owner)) = inner.known.remove(&uid) {
            if let Some(shelf) = shelf
                && let Some(all) = inner.shelves.get_mut(&shelf)
            {
                all.remove(&uid);
                if all.is_empty() {
                    inner.shelves.remove(&shelf);
                }
            }
            if let Some(owner) = owner
                && let Some(all) = inner.owned.get_mut(&owner)
            {
                all.remove(&uid);
                if all.is_empty() {
                    inner.owned.remove(&owner);
                }
            }
        }
        let made = shelf_of_name(workspace);
        if gone {
            if let Some(made) = made
                && let Some(all) = inner.made.get_mut(&made)
            {
                all.remove(&uid);
                if all.is_empty() {
                    inner.made.remove(&made);
                }
            }
            return;
        }
        if let Some(made) = made {
            inner.made.entry(made).or_default().insert(uid.clone(), Arc::new(Made::of(workspace)));
        }
        let owner = owner(workspace).map(str::to_owned);
        let shelf = adoptable(workspace)
            .then(|| (workspace.namespace().unwrap_or_default(), workspace.spec.environment.clone()));
        if let Some(shelf) = &shelf {
            inner.shelves.entry(shelf.clone()).or_default().insert(uid.clone(), kept.clone());
        }
        if let Some(owner) = &owner {
            inner.owned.entry(owner.clone()).or_default().insert(uid.clone(), kept.clone());
        }
        inner.known.insert(uid, (shelf, owner));
    }

    /// Workspaces whose controller has this UID.
    pub fn of_owner(&self, uid: &str) -> Vec<Arc<Workspace>> {
        let kept: Vec<_> =
            self.inner().owned.get(uid).map(|all| all.values().cloned().collect()).unwrap_or_default();
        kept.iter().filter_map(|kept| kept.open()).collect()
    }

    /// Workspaces whose names are those of a pool's members.
    pub fn made_by(&self, namespace: &str, pool: &str) -> Vec<Arc<Made>> {
        let shelf = (namespace.to_owned(), pool.to_owned());
        self.inner().made.get(&shelf).map(|all| all.values().cloned().collect()).unwrap_or_default()
    }

    /// Some that wait and that `fits` likes. Where to begin depends on who asks, so that many at once find different ones.
    pub fn some(
        &self,
        namespace: &str,
        environment: &str,
        asking: &str,
        most: usize,
        fits: impl Fn(&Workspace) -> bool,
    ) -> Vec<Arc<Workspace>> {
        let inner = self.inner();
        let Some(all) = inner.shelves.get(&(namespace.to_owned(), environment.to_owned())) else {
            return Vec::new();
        };
        let from = all.range(asking.to_owned()..).chain(all.range(..asking.to_owned()));
        from.filter(|(uid, _)| !inner.hidden.contains(*uid))
            .filter_map(|(_, kept)| kept.open())
            .filter(|workspace| fits(workspace))
            .take(most)
            .collect()
    }

    /// Nobody else shall try for it until the cache shows what became of it; false if somebody does already.
    pub fn hide(&self, uid: &str) -> bool {
        self.inner().hidden.insert(uid.to_owned())
    }

    /// It is as it was after all.
    pub fn show(&self, uid: &str) {
        self.inner().hidden.remove(uid);
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Name of the pool that made the Workspace, whoever has it now.
pub fn pool_of(workspace: &Workspace) -> Option<String> {
    ordinal(workspace)?;
    shelf_of_name(workspace).map(|(_, pool)| pool)
}

/// The name of a pool has at most 40 characters, so a member's name holds it whole.
fn shelf_of_name(workspace: &Workspace) -> Option<Shelf> {
    let name = workspace.name_any();
    let (pool, _) = name.rsplit_once('-')?;
    Some((workspace.namespace().unwrap_or_default(), pool.to_owned()))
}
