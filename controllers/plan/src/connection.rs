//! Decisions for Connections: whether what one refers to is there, and what it is, in words that never hold a key.

use a8s_crds::{
    Connection, ConnectionSpec, ConnectionStatus, ModelConnection, ModelProvider, SecretKey,
    conditions::{self, ConditionType, Reason, Status},
};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::{Env, Notice, Plan, Wake};

/// What is missing is looked for this often: nobody of us may watch Secrets.
const MISSING: u64 = 5_000;
/// A key that changes is noticed this fast.
const ROTATION: u64 = 20_000;
/// A Connection that names no key and no ConfigMap changes only with its spec; its Sessions are counted this often.
const COUNT: u64 = 60_000;

/// What was seen.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The Connection.
    pub connection: Connection,
    /// What became of each reference, in the order of [`references`]: a sentence if it cannot be followed.
    pub missing: Vec<String>,
    /// A key is another one than when it was looked at last.
    pub rotated: bool,
    /// Sessions that hold it.
    pub sessions: i64,
}

/// A key of a Secret, or of a ConfigMap, that a Connection refers to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// Key of a Secret.
    Secret(&'a SecretKey),
    /// Key of a ConfigMap.
    ConfigMap(&'a a8s_crds::ConfigMapKey),
}

/// Everything that the Connection refers to.
pub fn references(spec: &ConnectionSpec) -> Vec<Reference<'_>> {
    let mut all = Vec::new();
    all.extend(key(spec).map(Reference::Secret));
    let map = spec.documents.as_ref().and_then(|d| d.config_map.as_ref());
    all.extend(map.map(Reference::ConfigMap));
    all
}

/// The key that it needs, if it needs one.
pub fn key(spec: &ConnectionSpec) -> Option<&SecretKey> {
    let auths = [
        spec.mcp.as_ref().and_then(|c| c.auth.as_ref()),
        spec.http.as_ref().and_then(|c| c.auth.as_ref()),
        spec.documents.as_ref().and_then(|c| c.auth.as_ref()),
    ];
    let model = spec.model.as_ref().and_then(|m| m.secret_ref.as_ref());
    let secret = spec.secret.as_ref().map(|s| &s.secret_ref);
    model.or(secret).or_else(|| auths.into_iter().flatten().next().map(|auth| &auth.secret_ref))
}

/// What is to be done for a Connection: only its status.
pub fn plan(seen: &Observed, env: &Env) -> Plan<ConnectionStatus> {
    let mut plan = Plan::default();
    let connection = &seen.connection;
    if connection.metadata.deletion_timestamp.is_some() {
        return plan;
    }
    let old = connection.status.clone().unwrap_or_default();
    let generation = connection.metadata.generation;
    let mut new = ConnectionStatus { observed_generation: generation, ..old.clone() };
    let (kind, target) = described(&connection.spec);
    (new.kind, new.target, new.sessions) = (Some(kind.into()), Some(target), Some(seen.sessions));
    if seen.rotated {
        new.rotated = Some(Time(env.now));
        let note = "the key has changed; what was granted gets the new one".to_owned();
        plan.notices.push(Notice { warning: false, reason: Reason::GrantsChanged, note });
    }
    let was = conditions::get(&old.conditions, ConditionType::Ready).map(|c| c.status.clone());
    let (status, reason, text) = match seen.missing.first() {
        None => (Status::True, Reason::Ready, String::new()),
        Some(text) => {
            let map = connection.spec.documents.as_ref().is_some_and(|d| d.config_map.is_some());
            (
                Status::False,
                if map { Reason::ConfigMapNotFound } else { Reason::SecretNotFound },
                text.clone(),
            )
        }
    };
    if was.as_deref() != Some(status.as_str()) && (status == Status::False || was.is_some()) {
        let note = if text.is_empty() { "what it refers to is there".to_owned() } else { text.clone() };
        plan.notices.push(Notice { warning: status == Status::False, reason, note });
    }
    set(&mut new, status, reason, text, env.now);
    plan.wake = Wake::AfterMillis(match (seen.missing.is_empty(), references(&connection.spec).is_empty()) {
        (false, _) => MISSING,
        (true, false) => ROTATION,
        (true, true) => COUNT,
    });
    if new != old {
        plan.status = Some(new);
    }
    plan
}

fn set(new: &mut ConnectionStatus, status: Status, reason: Reason, text: String, now: Timestamp) {
    let (all, generation) = (&mut new.conditions, new.observed_generation);
    conditions::set(all, ConditionType::Ready, status, reason, text, generation, now);
}

/// Kind and target for people.
fn described(spec: &ConnectionSpec) -> (&'static str, String) {
    if let Some(model) = &spec.model {
        return ("Model", model.name.clone());
    }
    if let Some(mcp) = &spec.mcp {
        return ("MCP", host(&mcp.url));
    }
    if let Some(http) = &spec.http {
        return ("HTTP", host(&http.base_url));
    }
    if let Some(documents) = &spec.documents {
        let map = documents.config_map.as_ref().map(|map| format!("ConfigMap {}", map.name));
        let target = map.or_else(|| documents.url.as_deref().map(host));
        return ("Documents", target.unwrap_or_default());
    }
    let file = spec.secret.as_ref().map(|_| "a file that the agent sees");
    ("Secret", file.unwrap_or_default().to_owned())
}

/// Host and port of a URL. What else a URL may hold is not for everybody.
fn host(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let authority = &rest[..end];
    authority.rsplit_once('@').map_or(authority, |(_, host)| host).to_owned()
}

/// Where calls of a model go.
pub fn base_url(model: &ModelConnection) -> String {
    let own = model.base_url.as_deref().map(|url| url.trim_end_matches('/').to_owned());
    own.unwrap_or_else(|| {
        match model.provider {
            ModelProvider::Anthropic => "https://api.anthropic.com",
            ModelProvider::OpenAi => "https://api.openai.com/v1",
            ModelProvider::Gemini => "https://generativelanguage.googleapis.com",
            // The schema asks for it.
            ModelProvider::OpenAiCompatible => "",
        }
        .to_owned()
    })
}
