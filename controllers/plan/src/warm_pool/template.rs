//! What a desktop of a pool is made from, as a short text that changes when any of it does: what comes from the Environment and the
//! runner's image, a dash, what comes from the pool.

use a8s_crds::{Environment, Storage, WarmPoolSpec, names};

use crate::Env;

/// The whole of it.
pub fn template(environment: &Environment, pool: &WarmPoolSpec, env: &Env) -> String {
    let storage = pool.storage.as_ref().map(|s| Storage { golden: false, ..s.clone() });
    let own = serde_json::to_string(&(&pool.resources, &storage, &pool.desktop)).unwrap_or_default();
    format!("{}-{}", of_environment(environment, env), names::short_hash(&own))
}

/// Whether a desktop with this template is made from the Environment as it is now.
pub fn is_current(found: &str, environment: &Environment, env: &Env) -> bool {
    found.split('-').next() == Some(of_environment(environment, env).as_str())
}

fn of_environment(environment: &Environment, env: &Env) -> String {
    let mut spec = environment.spec.clone();
    // What people read, and when it is chosen, is in no desktop.
    spec.title.clear();
    (spec.description, spec.matching) = (None, None);
    if let Some(storage) = &mut spec.storage {
        // Where the home comes from does not make the desktop another.
        storage.golden = false;
    }
    let spec = serde_json::to_string(&spec).unwrap_or_default();
    names::short_hash(&format!("{spec}\n{}", env.runner_image))
}
