//! What the brain is started with.

use a8s_llm::{Client, Key, LlmError, Patience, Provider, Settings};

/// Settings of the brain.
#[derive(Clone, Debug)]
pub struct MindOptions {
    /// Whose interface the model speaks.
    pub provider: Provider,
    /// The model's name.
    pub model: String,
    /// Base URL of the model: the runner's gateway in a pod.
    pub url: Option<String>,
    /// What goes with it as the key: the gateway's token in a pod.
    pub key: Option<Key>,
    /// Standing instructions of the Session and the Environment.
    pub instructions: Option<String>,
    /// What is to be reached, word for word.
    pub requirement: Option<String>,
    /// Whether the agent was granted its shell.
    pub shell: bool,
    /// Tokens that the model can keep in view.
    pub window: u64,
    /// Most tool calls in a turn.
    pub max_steps: u32,
    /// Most tokens in a turn, read and written together; 0: any number.
    pub max_turn_tokens: u64,
    /// Size of the screen.
    pub screen: (u32, u32),
}

impl MindOptions {
    /// Tokens that a model of this provider can keep in view at least. A model that turns out to keep less is believed.
    pub fn window_of(provider: Provider) -> u64 {
        match provider {
            Provider::Anthropic | Provider::OpenAi => 200_000,
            Provider::OpenAiCompatible => 64_000,
            Provider::Gemini => 1_000_000,
        }
    }

    pub(super) fn client(&self) -> Result<Client, LlmError> {
        Client::new(Settings {
            provider: self.provider,
            model: self.model.clone(),
            base_url: self.url.clone(),
            key: self.key.clone(),
            patience: Patience::default(),
        })
    }
}
