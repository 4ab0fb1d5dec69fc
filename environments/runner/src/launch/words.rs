//! What some harnesses need to be told in words of their own: they take the way to their model from a configuration only, or begin with what
//! does not fit a desktop that nobody sits at.

use std::path::Path;

use a8s_wire::paths::harness_env;
use serde_json::json;

/// The variables for this harness, beside those that all get.
pub fn of(
    command: &[String],
    provider: &str,
    model: &str,
    url: &str,
    token: &str,
) -> Vec<(&'static str, String)> {
    match program(command) {
        Some("opencode") => opencode(provider, model, url, token),
        Some("codex-acp") => codex(model, url),
        // Whoever starts a desktop has chosen its home; nobody sits there to be asked.
        Some("gemini") => vec![("GEMINI_CLI_TRUST_WORKSPACE", "true".to_owned())],
        _ => Vec::new(),
    }
}

/// The program's name, behind an `env` and its variables.
fn program(command: &[String]) -> Option<&str> {
    let mut words = command.iter().map(|word| Path::new(word).file_name().and_then(|name| name.to_str()));
    match words.next()? {
        Some("env") => words.flatten().find(|word| !word.contains('=')),
        name => name,
    }
}

fn on(name: &'static str) -> (&'static str, String) {
    (name, "1".to_owned())
}

fn opencode(provider: &str, model: &str, url: &str, token: &str) -> Vec<(&'static str, String)> {
    // The packages are part of opencode; those of Anthropic and Google put their paths behind a version.
    let (package, url) = match provider {
        "anthropic" => ("@ai-sdk/anthropic", format!("{url}/v1")),
        "openai" => ("@ai-sdk/openai", url.to_owned()),
        "gemini" => ("@ai-sdk/google", format!("{url}/v1beta")),
        _ => ("@ai-sdk/openai-compatible", url.to_owned()),
    };
    let models = json!({model: {"name": model, "tool_call": true, "attachment": true}});
    let configuration = json!({
        "model": format!("a8s/{model}"),
        "small_model": format!("a8s/{model}"),
        "enabled_providers": ["a8s"],
        "provider": {"a8s": {"name": "a8s", "npm": package, "options": {"baseURL": url, "apiKey": token}, "models": models}},
        "autoupdate": false,
        "share": "disabled"
    });
    vec![
        ("OPENCODE_CONFIG_CONTENT", configuration.to_string()),
        on("OPENCODE_DISABLE_AUTOUPDATE"),
        on("OPENCODE_DISABLE_LSP_DOWNLOAD"),
        on("OPENCODE_DISABLE_MODELS_FETCH"),
    ]
}

/// Codex speaks OpenAI's Responses API only. The container is its sandbox; its own needs rights that no container here has.
fn codex(model: &str, url: &str) -> Vec<(&'static str, String)> {
    let provider =
        json!({"name": "a8s", "base_url": url, "env_key": harness_env::MODEL_KEY, "wire_api": "responses"});
    let configuration = json!({
        "model": model,
        "model_provider": "a8s",
        "model_providers": {"a8s": provider},
        "check_for_update_on_startup": false,
    });
    vec![
        ("CODEX_CONFIG", configuration.to_string()),
        ("MODEL_PROVIDER", "a8s".to_owned()),
        ("INITIAL_AGENT_MODE", "read-only".to_owned()),
        on("NO_BROWSER"),
    ]
}
