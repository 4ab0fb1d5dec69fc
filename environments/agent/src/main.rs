//! `a8s-agent`; see the library for what it does.

use std::path::PathBuf;

use a8s_agent::{Mind, MindOptions};
use a8s_llm::{Key, Provider};
use a8s_wire::paths;
use clap::{Parser, ValueEnum};

#[derive(Parser)]
#[command(
    name = "a8s-agent",
    about = "The built-in agent: speaks the Agent Client Protocol on stdio",
    version
)]
struct Arguments {
    /// Which brain answers; without it the model's, if one is named.
    #[arg(long, env = "A8S_AGENT_BRAIN")]
    brain: Option<Brain>,
    /// Home directory: everything the agent makes and remembers is below it.
    #[arg(long, env = "HOME", default_value = paths::HOME)]
    home: PathBuf,
    #[command(flatten)]
    model: ModelArguments,
}

/// The language model. Text that is empty counts as absent.
#[derive(clap::Args)]
struct ModelArguments {
    /// Whose interface the model speaks: anthropic, openai, openai-compatible or gemini.
    #[arg(long, env = paths::harness_env::MODEL_PROVIDER)]
    model_provider: Option<String>,
    /// The model's name.
    #[arg(long, env = paths::harness_env::MODEL)]
    model: Option<String>,
    /// Base URL of the model.
    #[arg(long, env = paths::harness_env::MODEL_URL)]
    model_url: Option<String>,
    /// What goes with it as the key; in the environment only, since arguments are seen by others.
    #[arg(skip = std::env::var(paths::harness_env::MODEL_KEY).ok().and_then(Key::new))]
    key: Option<Key>,
    /// Standing instructions.
    #[arg(long, env = paths::harness_env::INSTRUCTIONS, hide_env_values = true)]
    instructions: Option<String>,
    /// What is to be reached, word for word.
    #[arg(long, env = paths::harness_env::REQUIREMENT, hide_env_values = true)]
    requirement: Option<String>,
    /// Names of the tools that were granted, with commas between them; all without it.
    #[arg(long, env = paths::harness_env::TOOLS, value_delimiter = ',')]
    tools: Option<Vec<String>>,
    /// Tokens that the model can keep in view.
    #[arg(long, env = "A8S_MODEL_WINDOW")]
    model_window: Option<u64>,
    /// Most tool calls in a turn.
    #[arg(long, env = "A8S_MAX_STEPS", default_value_t = 200)]
    max_steps: u32,
    /// Most tokens in a turn, read and written together; 0: any number.
    #[arg(long, env = "A8S_MAX_TURN_TOKENS", default_value_t = 0)]
    max_turn_tokens: u64,
    /// Size of the screen.
    #[arg(long, env = paths::env::GEOMETRY, default_value = "1280x800")]
    screen: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Brain {
    /// Deterministic, without a model.
    Scripted,
    /// A language model.
    Llm,
}

impl ModelArguments {
    fn mind(self) -> Result<Mind, String> {
        let text = |text: Option<String>| text.filter(|text| !text.trim().is_empty());
        let provider = text(self.model_provider).ok_or("no provider of a model is named")?;
        let provider: Provider =
            provider.parse().map_err(|error: a8s_llm::UnknownProvider| error.to_string())?;
        let screen = self
            .screen
            .split_once('x')
            .and_then(|(width, height)| Some((width.parse().ok()?, height.parse().ok()?)));
        let options = MindOptions {
            provider,
            model: text(self.model).ok_or("no model is named")?,
            url: text(self.model_url),
            key: self.key,
            instructions: text(self.instructions),
            requirement: text(self.requirement),
            shell: self.tools.is_none_or(|tools| tools.iter().any(|name| name == "shell")),
            window: self.model_window.unwrap_or_else(|| MindOptions::window_of(provider)),
            max_steps: self.max_steps,
            max_turn_tokens: self.max_turn_tokens,
            screen: screen.unwrap_or((1280, 800)),
        };
        Mind::new(options).map_err(|error| error.to_string())
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let Arguments { brain, home, model } = Arguments::parse();
    // Standard output belongs to the protocol.
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_max_level(tracing::Level::WARN).init();
    let named = model.model_provider.as_ref().is_some_and(|name| !name.trim().is_empty());
    let wanted = brain.map_or(named, |brain| brain == Brain::Llm);
    let mind = wanted.then(|| model.mind());
    a8s_agent::serve(a8s_agent::Options { home, mind }).await?;
    Ok(())
}
