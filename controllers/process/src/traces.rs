//! Traces, off by default: spans go to an OpenTelemetry collector by OTLP over HTTP if `OTEL_EXPORTER_OTLP_ENDPOINT` (or
//! `..._TRACES_ENDPOINT`) names one. The standard variables for headers, time limit, sampling, service and resource hold. A collector
//! that does not answer costs spans and one warning, never the process.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use axum::{body::Body, middleware::Next};
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry::trace::TracerProvider;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracerProvider, Tracer},
};
use tokio::runtime::Handle;
use tracing::{Instrument, field::Empty};

/// A collector gets no longer for one batch, whatever `OTEL_EXPORTER_OTLP_TIMEOUT` allows.
const LIMIT: Duration = Duration::from_secs(10);
/// The last batch gets no longer.
const LAST: Duration = Duration::from_secs(2);

/// The end of a process' telemetry: what is still to be sent is sent when it is dropped.
#[must_use = "dropped at once, it ends the traces at once"]
#[derive(Debug, Default)]
pub struct Flush(Option<SdkTracerProvider>);

impl Drop for Flush {
    fn drop(&mut self) {
        if let Some(provider) = self.0.take() {
            // What is lost now was warned of before.
            let _ = provider.shutdown_with_timeout(LAST);
        }
    }
}

/// Whether the environment asks for traces.
fn asked(variable: impl Fn(&str) -> Option<String>) -> bool {
    let said = |name: &str| variable(name).filter(|value| !value.is_empty());
    let off = |name: &str, value: &str| said(name).is_some_and(|said| said.eq_ignore_ascii_case(value));
    let endpoint = said("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").or_else(|| said("OTEL_EXPORTER_OTLP_ENDPOINT"));
    endpoint.is_some() && !off("OTEL_SDK_DISABLED", "true") && !off("OTEL_TRACES_EXPORTER", "none")
}

/// What sends spans of the process `name`, if the environment asks for it, and what ends it; an error is for the log.
pub(crate) fn tracer(name: &str) -> Result<Option<(Tracer, Flush)>, String> {
    if !asked(|name| std::env::var(name).ok()) {
        return Ok(None);
    }
    let runtime = Handle::try_current().map_err(|error| error.to_string())?;
    let builder = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
    let exporter = builder.with_http_client(client(runtime)?).build().map_err(|error| error.to_string())?;
    Ok(Some(provide(name, exporter)))
}

fn client(runtime: Handle) -> Result<Client, String> {
    let client = reqwest::Client::builder().timeout(LIMIT).redirect(reqwest::redirect::Policy::none());
    let client = client.build().map_err(|error| error.to_string())?;
    Ok(Client { http: client, runtime, warned: AtomicBool::new(false) })
}

fn provide(name: &str, exporter: SpanExporter) -> (Tracer, Flush) {
    let mut resource = Resource::builder();
    if std::env::var_os("OTEL_SERVICE_NAME").is_none() {
        resource = resource.with_service_name(name.to_owned());
    }
    let provider =
        SdkTracerProvider::builder().with_resource(resource.build()).with_batch_exporter(exporter).build();
    (provider.tracer("a8s"), Flush(Some(provider)))
}

/// Sends batches with the process' own HTTP client. The exporter's thread has no runtime; the process has.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
    /// Whether the collector's silence was said already.
    warned: AtomicBool,
}

#[async_trait::async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (client, host) = (self.http.clone(), request.uri().host().unwrap_or_default().to_owned());
        let sent = self.runtime.spawn(async move {
            let answer = client.execute(request.try_into()?).await?;
            let status = answer.status();
            let mut response = Response::new(answer.bytes().await?);
            *response.status_mut() = status;
            Ok::<_, reqwest::Error>(response)
        });
        let result: Result<Response<Bytes>, HttpError> = match sent.await {
            Ok(Ok(response)) => Ok(response),
            // A URL may hold a password.
            Ok(Err(error)) => Err(error.without_url().into()),
            Err(ended) => Err(ended.into()),
        };
        let trouble = match &result {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answers {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        let warned = self.warned.swap(trouble.is_some(), Ordering::Relaxed);
        if let Some(error) = trouble.filter(|_| !warned) {
            tracing::warn!(
                host,
                error,
                "the OpenTelemetry collector does not take traces; they are lost until it does"
            );
        }
        result
    }
}

/// Every request is a span: method, path without its query, status. No header and no body is ever in it.
pub fn traced(router: axum::Router) -> axum::Router {
    router.layer(axum::middleware::from_fn(async |request: Request<Body>, next: Next| {
        let (method, path) = (request.method().as_str(), request.uri().path());
        let span = tracing::info_span!("request", otel.kind = "server", method, path, status = Empty);
        let response = next.run(request).instrument(span.clone()).await;
        span.record("status", response.status().as_u16());
        response
    }))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use axum::{Router, extract::State, routing::post};
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    use prost::Message;
    use tokio::{net::TcpListener, sync::mpsc};
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[test]
    fn traces_are_off_unless_a_collector_is_named() {
        let asked = |all: &[(&str, &str)]| {
            let all: HashMap<_, _> = all.iter().copied().collect();
            asked(|name| all.get(name).map(ToString::to_string))
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");
        assert!(asked(&[endpoint]));
        assert!(asked(&[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://collector:4318/v1/traces")]));
        assert!(!asked(&[]));
        assert!(!asked(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")]));
        assert!(!asked(&[endpoint, ("OTEL_SDK_DISABLED", "true")]));
        assert!(!asked(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")]));
    }

    fn exporter(url: &str) -> SpanExporter {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
        let client = client(Handle::current()).unwrap();
        builder.with_endpoint(url).with_http_client(client).build().unwrap()
    }

    fn one_span(url: &str) {
        let (tracer, flush) = provide("a8s-test", exporter(url));
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::info_span!("pass", kind = "Workspace").in_scope(|| {});
        });
        drop(flush);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_gets_the_spans_of_a_process_before_it_ends() {
        let (sender, mut received) = mpsc::unbounded_channel();
        let take = async |State(sender): State<mpsc::UnboundedSender<_>>, body: Bytes| {
            sender.send(ExportTraceServiceRequest::decode(body).unwrap()).unwrap();
        };
        let router = Router::new().route("/v1/traces", post(take)).with_state(sender);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        tokio::task::spawn_blocking(move || one_span(&url)).await.unwrap();
        let spans = &received.recv().await.unwrap().resource_spans[0];
        assert_eq!(spans.scope_spans[0].spans[0].name, "pass");
        let attributes = format!("{:?}", spans.resource.as_ref().unwrap().attributes);
        assert!(attributes.contains("service.name") && attributes.contains("a8s-test"), "{attributes}");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_collector_that_never_answers_does_not_keep_a_process_from_ending() {
        let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1/traces", silent.local_addr().unwrap());
        let ended = tokio::task::spawn_blocking(move || one_span(&url));
        tokio::time::timeout(LAST * 4, ended).await.unwrap().unwrap();
    }
}
