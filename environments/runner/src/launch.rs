//! What is to be started as the agent: the harness of the settings, with the way to the model that the Session was granted. Pure.
//!
//! No key is among the variables. The harness gets the gateway's token, which is worth nothing outside this pod.

mod words;

use std::{collections::BTreeMap, net::SocketAddr};

use a8s_wire::{GrantKind, Grants, Launch, Settings, paths::harness_env as env};

/// The way to the credential gateway.
#[derive(Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Where it listens.
    pub address: SocketAddr,
    /// What it wants.
    pub token: String,
}

impl Gateway {
    /// Where a Connection is reached.
    pub fn url(&self, connection: &str) -> String {
        format!("http://{}/connections/{connection}", self.address)
    }
}

/// The model that the settings name, if it was not granted (yet).
pub fn missing<'a>(settings: &'a Settings, grants: &Grants) -> Option<&'a str> {
    let model = settings.model.as_deref()?;
    (!grants.connections.iter().any(|grant| grant.name == model)).then_some(model)
}

/// What is to be started.
pub fn of(settings: &Settings, grants: &Grants, gateway: &Gateway) -> Launch {
    let mut env = BTreeMap::new();
    let mut set = |name: &str, value: &str| env.insert(name.to_owned(), value.to_owned());
    set(env::GATEWAY, &format!("http://{}", gateway.address));
    set(env::GATEWAY_TOKEN, &gateway.token);
    if let Some(instructions) = settings.instructions.as_deref().filter(|_| settings.command.is_empty()) {
        set(env::INSTRUCTIONS, instructions);
    }
    if let Some(requirement) = settings.requirement.as_deref().filter(|_| settings.command.is_empty()) {
        set(env::REQUIREMENT, requirement);
    }
    let tools = settings.tools.as_ref().filter(|_| settings.command.is_empty());
    // It has a shell unless it is told otherwise, and needs no new start to have what it has.
    if let Some(tools) = tools.filter(|tools| !tools.iter().any(|name| name == "shell")) {
        // Those of servers come and go without a new start.
        let own: Vec<&str> = tools.iter().map(String::as_str).filter(|name| !name.contains("__")).collect();
        set(env::TOOLS, &own.join(","));
    }
    let model = grants.connections.iter().find(|grant| Some(&grant.name) == settings.model.as_ref());
    if let Some(grant) = model
        && let GrantKind::Model { provider, model, .. } = &grant.kind
    {
        let url = gateway.url(&grant.name);
        set(env::MODEL_PROVIDER, provider);
        set(env::MODEL, model);
        set(env::MODEL_URL, &url);
        set(env::MODEL_KEY, &gateway.token);
        // The names that harnesses know.
        let (base, key, name): (&[&str], &[&str], &[&str]) = match provider.as_str() {
            "anthropic" => (&["ANTHROPIC_BASE_URL"], &["ANTHROPIC_API_KEY"], &["ANTHROPIC_MODEL"]),
            "gemini" => {
                (&["GOOGLE_GEMINI_BASE_URL", "GEMINI_BASE_URL"], &["GEMINI_API_KEY"], &["GEMINI_MODEL"])
            }
            _ => (&["OPENAI_BASE_URL", "OPENAI_API_BASE"], &["OPENAI_API_KEY"], &["OPENAI_MODEL"]),
        };
        for (names, value) in [(base, url.as_str()), (key, &gateway.token), (name, model)] {
            for variable in names {
                set(variable, value);
            }
        }
        for (name, value) in words::of(&settings.command, provider, model, &url, &gateway.token) {
            set(name, &value);
        }
    }
    Launch { command: settings.command.clone(), env }
}

#[cfg(test)]
mod tests {
    use a8s_wire::Grant;
    use serde_json::json;

    use super::*;

    fn gateway() -> Gateway {
        Gateway { address: SocketAddr::from(([127, 0, 0, 1], 8446)), token: "gateway-token".into() }
    }

    fn grants(provider: &str) -> Grants {
        let kind = GrantKind::Model {
            provider: provider.into(),
            model: "m-1".into(),
            base_url: "https://api.example".into(),
            key: Some("canary-key".into()),
            price: None,
        };
        Grants { connections: vec![Grant { name: "llm".into(), title: None, kind }] }
    }

    #[test]
    fn a_harness_gets_the_way_to_its_model_and_no_key() {
        let settings = Settings { model: Some("llm".into()), ..Settings::default() };
        for (provider, base, key) in [
            ("anthropic", "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
            ("openai-compatible", "OPENAI_BASE_URL", "OPENAI_API_KEY"),
            ("gemini", "GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY"),
        ] {
            let launch = of(&settings, &grants(provider), &gateway());
            assert_eq!(launch.env[base], "http://127.0.0.1:8446/connections/llm");
            assert_eq!(launch.env[key], "gateway-token");
            assert_eq!(
                (&launch.env["A8S_MODEL_PROVIDER"][..], &launch.env["A8S_MODEL"][..]),
                (provider, "m-1")
            );
            assert!(!serde_json::to_string(&launch).unwrap().contains("canary"));
        }
    }

    #[test]
    fn a_harness_with_a_configuration_of_its_own_gets_the_same_way() {
        let command = vec!["/opt/bin/opencode".to_owned(), "acp".to_owned()];
        let settings = Settings { model: Some("llm".into()), command, ..Settings::default() };
        let launch = of(&settings, &grants("anthropic"), &gateway());
        let told: serde_json::Value = serde_json::from_str(&launch.env["OPENCODE_CONFIG_CONTENT"]).unwrap();
        let options = &told["provider"]["a8s"]["options"];
        assert_eq!(options["baseURL"], "http://127.0.0.1:8446/connections/llm/v1");
        assert_eq!((&told["model"], &options["apiKey"]), (&json!("a8s/m-1"), &json!("gateway-token")));
    }

    #[test]
    fn what_stands_before_a_harness_does_not_hide_which_one_it_is() {
        let command = ["env", "IS_SANDBOX=1", "/opt/bin/codex-acp"].map(str::to_owned).to_vec();
        let settings = Settings { model: Some("llm".into()), command, ..Settings::default() };
        let launch = of(&settings, &grants("openai"), &gateway());
        let told: serde_json::Value = serde_json::from_str(&launch.env["CODEX_CONFIG"]).unwrap();
        let provider = &told["model_providers"]["a8s"];
        assert_eq!(provider["base_url"], "http://127.0.0.1:8446/connections/llm");
        assert_eq!((&told["model"], &provider["env_key"]), (&json!("m-1"), &json!("A8S_MODEL_KEY")));
        let command = ["sh", "-c", "exec codex-acp"].map(str::to_owned).to_vec();
        assert!(
            !of(&Settings { command, ..settings }, &grants("openai"), &gateway())
                .env
                .contains_key("CODEX_CONFIG")
        );
    }

    #[test]
    fn without_a_model_there_is_none_in_the_environment_and_a_missing_one_is_known() {
        let settings = Settings { instructions: Some("be kind".into()), ..Settings::default() };
        let launch = of(&settings, &grants("anthropic"), &gateway());
        assert!(!launch.env.keys().any(|name| name.contains("MODEL") || name.contains("API_KEY")));
        assert_eq!(launch.env["A8S_INSTRUCTIONS"], "be kind");
        assert!(!launch.env.contains_key("A8S_TOOLS"));
        let tools = Some(["computer", "files", "crm__find"].map(str::to_owned).to_vec());
        let some = Settings { tools, ..settings.clone() };
        assert_eq!(of(&some, &grants("anthropic"), &gateway()).env["A8S_TOOLS"], "computer,files");
        let more = Settings { tools: Some(vec!["shell".into(), "computer".into()]), ..settings.clone() };
        assert!(!of(&more, &grants("anthropic"), &gateway()).env.contains_key("A8S_TOOLS"));
        let wants = Settings { model: Some("other".into()), command: vec!["x".into()], ..settings };
        assert_eq!(missing(&wants, &grants("anthropic")), Some("other"));
        assert!(!of(&wants, &grants("anthropic"), &gateway()).env.contains_key("A8S_INSTRUCTIONS"));
    }
}
