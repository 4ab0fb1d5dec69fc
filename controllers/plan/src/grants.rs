//! What a Workspace was granted, as its runner reads it. Keys go in here and come out only as the content of one Secret: nothing in here
//! is logged, and what cannot be granted is named by the Connection alone.

use a8s_crds::{AuthHeader, Connection, ConnectionSpec, SecretKey};
use a8s_wire::{Grant, GrantKind, Grants, Header};
use kube::ResourceExt;

use crate::connection::base_url;

/// Annotation of the pod: which version of the Secret it shall have. The kubelet looks at once when a pod changes, and only now and then
/// when a Secret does. It is the Secret's resource version, which says nothing of what is in it.
pub const VERSION: &str = "a8s.dev/grants-hash";
/// Key of the Secret.
pub const FILE: &str = "grants.json";

/// Everything that can be granted of `wanted`; `key` gives the content of a Secret's key. What is missing is left out: its Connection says
/// so itself, and it is granted when it is there.
pub fn render<'a>(
    wanted: impl IntoIterator<Item = &'a Connection>,
    key: impl Fn(&SecretKey) -> Option<String>,
) -> Grants {
    let mut connections: Vec<Grant> = wanted
        .into_iter()
        .filter(|connection| connection.metadata.deletion_timestamp.is_none())
        .filter_map(|connection| {
            let kind = granted(&connection.spec, &key)?;
            Some(Grant { name: connection.name_any(), title: connection.spec.title.clone(), kind })
        })
        .collect();
    connections.sort_by(|a, b| a.name.cmp(&b.name));
    connections.dedup_by(|a, b| a.name == b.name);
    Grants { connections }
}

/// Secrets that are to be read for it.
pub fn secrets<'a>(wanted: impl IntoIterator<Item = &'a Connection>) -> Vec<&'a str> {
    let keys = wanted.into_iter().filter_map(|c| crate::connection::key(&c.spec));
    let mut names: Vec<&str> = keys.map(|key| key.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn granted(spec: &ConnectionSpec, key: &impl Fn(&SecretKey) -> Option<String>) -> Option<GrantKind> {
    // A file that was made with an editor ends with a line feed, and no header may.
    let trimmed = |reference: &SecretKey| key(reference).map(|text| text.trim().to_owned());
    // Asked for and missing is not the same as not asked for.
    let optional = |reference: Option<&SecretKey>| match reference {
        Some(reference) => trimmed(reference).filter(|key| !key.is_empty()).map(Some),
        None => Some(None),
    };
    let header = |auth: Option<&AuthHeader>| match auth {
        Some(auth) => {
            let key = trimmed(&auth.secret_ref).filter(|key| !key.is_empty())?;
            Some(Some(Header { name: auth.header.clone(), value: format!("{}{key}", auth.prefix) }))
        }
        None => Some(None),
    };
    if let Some(model) = &spec.model {
        let provider = serde_json::to_value(model.provider).ok()?.as_str()?.to_owned();
        let price = model.price.as_ref().and_then(|p| Some((micros(&p.input)?, micros(&p.output)?)));
        let key = optional(model.secret_ref.as_ref())?;
        return Some(GrantKind::Model {
            provider,
            model: model.name.clone(),
            base_url: base_url(model),
            key,
            price,
        });
    }
    if let Some(mcp) = &spec.mcp {
        let header = header(mcp.auth.as_ref())?;
        return Some(GrantKind::Mcp { url: mcp.url.clone(), header, tools: mcp.tools.clone() });
    }
    if let Some(http) = &spec.http {
        let header = header(http.auth.as_ref())?;
        let base_url = http.base_url.trim_end_matches('/').to_owned();
        return Some(GrantKind::Http { base_url, header, methods: http.methods.clone() });
    }
    if let Some(secret) = &spec.secret {
        return key(&secret.secret_ref).map(|value| GrantKind::Secret { value });
    }
    let documents = spec.documents.as_ref()?;
    let header = header(documents.auth.as_ref())?;
    // A ConfigMap is put among the attachments by the bridge: the runner cannot read one.
    documents.url.clone().map(|url| GrantKind::Documents { url, header })
}

/// Millionths of a decimal number: `0.25` is 250,000.
fn micros(decimal: &str) -> Option<i64> {
    let (whole, part) = decimal.split_once('.').unwrap_or((decimal, ""));
    let part: i64 = format!("{part:0<6}").get(..6)?.parse().ok()?;
    whole.parse::<i64>().ok()?.checked_mul(1_000_000)?.checked_add(part)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn connection(name: &str, spec: serde_json::Value) -> Connection {
        Connection::new(name, from_value(spec).unwrap())
    }

    fn key(of: &SecretKey) -> Option<String> {
        (of.name == "keys").then(|| format!("canary-{}\n", of.key))
    }

    #[test]
    fn every_kind_is_granted_with_its_key_where_the_provider_wants_it() {
        let secret = |key: &str| json!({"name": "keys", "key": key});
        let all = [
            connection(
                "wiki",
                json!({"mcp": {"url": "https://w/mcp", "tools": ["find"],
                "auth": {"secretRef": secret("w")}}}),
            ),
            connection(
                "llm",
                json!({"title": "Claude", "model": {"provider": "anthropic", "name": "m",
                "secretRef": secret("l"), "price": {"input": "3", "output": "0.25"}}}),
            ),
            connection(
                "crm",
                json!({"http": {"baseUrl": "https://c/api/", "methods": ["GET"],
                "auth": {"header": "X-Key", "prefix": "", "secretRef": secret("c")}}}),
            ),
            connection("pin", json!({"secret": {"secretRef": secret("p"), "expose": "File"}})),
            connection(
                "local",
                json!({"model": {"provider": "openai-compatible", "name": "m", "baseUrl": "http://l/v1"}}),
            ),
            connection("handbook", json!({"documents": {"configMap": {"name": "c", "key": "k"}}})),
            connection(
                "lost",
                json!({"http": {"baseUrl": "https://x", "auth": {"secretRef": {"name": "gone", "key": "k"}}}}),
            ),
        ];
        assert_eq!(secrets(&all), ["gone", "keys"]);
        let grants = render(&all, key);
        let names: Vec<_> = grants.connections.iter().map(|g| g.name.as_str()).collect();
        assert_eq!(
            names,
            ["crm", "llm", "local", "pin", "wiki"],
            "in order, without what is missing or no matter of the runner"
        );
        let text = serde_json::to_value(&grants).unwrap();
        assert_eq!(
            text["connections"][0],
            json!({"name": "crm", "kind": "http", "baseUrl": "https://c/api",
            "header": {"name": "X-Key", "value": "canary-c"}, "methods": ["GET"]})
        );
        assert_eq!(
            text["connections"][1],
            json!({"name": "llm", "title": "Claude", "kind": "model", "provider": "anthropic",
            "model": "m", "baseUrl": "https://api.anthropic.com", "key": "canary-l", "price": [3_000_000, 250_000]})
        );
        assert_eq!(text["connections"][2]["key"], json!(null));
        assert_eq!(text["connections"][3]["value"], "canary-p\n", "a file stays as it is");
        assert_eq!(text["connections"][4]["header"]["value"], "Bearer canary-w");
        assert!(!format!("{grants:?}").contains("canary"));
    }

    #[test]
    fn a_price_is_counted_in_millionths() {
        for (text, expected) in
            [("3", Some(3_000_000)), ("0.25", Some(250_000)), ("1.000001", Some(1_000_001)), ("x", None)]
        {
            assert_eq!(micros(text), expected, "{text}");
        }
    }
}
