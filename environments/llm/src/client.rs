//! The client of one model: settings, and the way from a [`Request`] to its [`Events`].

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    Events, LlmError, Patience, Provider, Request, anthropic, compatible,
    http::{self, Decode},
    openai,
};

/// A key. It shows itself to nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(String);

impl Key {
    /// A key; none if the text is empty.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text: String = text.into().trim().to_owned();
        (!text.is_empty()).then_some(Self(text))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// Which model, where, and with which key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whose interface it speaks.
    pub provider: Provider,
    /// Its name as the provider knows it.
    pub model: String,
    /// Base URL: what `/v1/messages` (Anthropic), `/responses` (OpenAI), `/chat/completions` or Gemini's
    /// `/v1beta/…` is put behind; the provider's own without it.
    pub base_url: Option<String>,
    /// The key; absent where somebody else adds it, or none is wanted.
    pub key: Option<Key>,
    /// Bounds of patience.
    pub patience: Patience,
}

/// The client of one model. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Client {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    settings: Settings,
    url: String,
    http: reqwest::Client,
    /// Models that do not think refuse to hand out their thoughts; learned from the first refusal.
    no_thoughts: AtomicBool,
}

impl Client {
    /// A client.
    pub fn new(settings: Settings) -> Result<Self, LlmError> {
        if settings.model.trim().is_empty() {
            return Err(LlmError::Settings("no model is named".into()));
        }
        let base = settings.base_url.as_deref().filter(|url| !url.is_empty());
        let base = base.or(settings.provider.default_base_url());
        let base =
            base.ok_or_else(|| LlmError::Settings(format!("{} needs a base URL", settings.provider)))?;
        let path = match settings.provider {
            Provider::Anthropic => "v1/messages",
            Provider::OpenAi => "responses",
            Provider::OpenAiCompatible => "chat/completions",
            Provider::Gemini => "v1beta/openai/chat/completions",
        };
        let url = format!("{}/{path}", base.trim_end_matches('/'));
        let parsed = reqwest::Url::parse(&url)
            .map_err(|error| LlmError::Settings(format!("{base:?} is no URL: {error}")))?;
        // The binary may have done it already; either is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = reqwest::Client::builder();
        if is_loopback(&parsed) {
            // In a pod the way leads over the gateway of the same pod, which no proxy can reach.
            builder = builder.no_proxy();
        }
        let http = builder
            .connect_timeout(settings.patience.connect)
            // A redirect could carry the key to another host.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("a8s/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| LlmError::Settings(error.to_string()))?;
        Ok(Self { inner: Arc::new(Inner { settings, url, http, no_thoughts: AtomicBool::new(false) }) })
    }

    /// The model's name.
    pub fn model(&self) -> &str {
        &self.inner.settings.model
    }

    /// Whose interface it speaks.
    pub fn provider(&self) -> Provider {
        self.inner.settings.provider
    }

    /// Asks. Failures before the answer begins are retried here, as often as the settings say; an answer that breaks off is an error, and
    /// whoever asked decides whether to ask again. Dropping the stream ends the request.
    pub fn stream(&self, request: Request) -> Events {
        let inner = self.inner.clone();
        stream::once(async move {
            let response = inner.open(&request).await?;
            let decoder: Box<dyn Decode> = match inner.settings.provider {
                Provider::Anthropic => Box::<anthropic::Decoder>::default(),
                Provider::OpenAi => Box::<openai::Decoder>::default(),
                provider @ (Provider::OpenAiCompatible | Provider::Gemini) => {
                    Box::new(compatible::Decoder::of(provider))
                }
            };
            Ok::<_, LlmError>(http::events(response, decoder, inner.settings.patience.idle))
        })
        .try_flatten()
        .boxed()
    }
}

fn is_loopback(url: &reqwest::Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl Inner {
    async fn open(&self, request: &Request) -> Result<reqwest::Response, LlmError> {
        let mut attempt = 0;
        loop {
            let error = match self.send(request).await {
                Ok(response) => return Ok(response),
                Err(error) => error,
            };
            if matches!(&error, LlmError::Rejected { detail, .. } if openai::wants_no_thoughts(detail))
                && !self.no_thoughts.swap(true, Ordering::Relaxed)
            {
                continue;
            }
            let Some(delay) = self.settings.patience.delay(attempt, &error) else { return Err(error) };
            tracing::info!(%error, attempt, ?delay, "the model is asked again");
            sleep(delay).await;
            attempt += 1;
        }
    }

    async fn send(&self, request: &Request) -> Result<reqwest::Response, LlmError> {
        let Settings { provider, model, key, patience, .. } = &self.settings;
        let body: Value = match provider {
            Provider::Anthropic => anthropic::encode(model, request),
            Provider::OpenAi => openai::encode(model, request, !self.no_thoughts.load(Ordering::Relaxed)),
            Provider::OpenAiCompatible | Provider::Gemini => compatible::encode(*provider, model, request),
        };
        let mut call = self.http.post(&self.url).json(&body).header("accept", "text/event-stream");
        if *provider == Provider::Anthropic {
            call = call.header("anthropic-version", anthropic::VERSION);
            if let Some(beta) = anthropic::beta(request) {
                call = call.header("anthropic-beta", beta);
            }
            if let Some(key) = key {
                call = call.header("x-api-key", key.expose());
            }
        } else if let Some(key) = key {
            call = call.bearer_auth(key.expose());
        }
        http::send(call, patience.first_byte, &self.url, |status, retry_after, body| {
            let key = key.as_ref().map(Key::expose);
            crate::refusal::Refusal { model, url: &self.url, request, status, retry_after, body, key }.error()
        })
        .await
    }
}
