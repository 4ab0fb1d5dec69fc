//! Puts the parts together and runs them until the process is asked to stop.

use std::{net::TcpListener, time::Duration};

use a8s_wire::{Launch, Usage, paths};
use anyhow::Context;
use axum_server::{
    accept::NoDelayAcceptor,
    tls_rustls::{RustlsAcceptor, RustlsConfig},
};
use futures::future::BoxFuture;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
};

use crate::{
    acp::{self, LinkOptions},
    artifacts::Blobs,
    config::Config,
    control, deliver,
    engine::{Engine, Parts},
    flush::Flusher,
    gateway, grants,
    handle::Handle,
    http::{self, Auth, Shared},
    launch::Gateway,
    log::Log,
    mcp::{self, Desk, Remotes},
    recording::{self, Recordings},
    redact::Redactor,
    restore::{self, Due},
    space,
};

/// Time for open streams to end.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// Runs until SIGTERM or SIGINT, or until a part fails that nothing works without.
///
/// Boxed, so that it is compiled here once and not again in every program and test that calls it.
pub fn run(config: Config) -> BoxFuture<'static, anyhow::Result<()>> {
    Box::pin(work(config))
}

async fn work(config: Config) -> anyhow::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    std::fs::create_dir_all(&config.state)
        .with_context(|| format!("cannot create {}", config.state.display()))?;
    let transcript = config.state.join("transcript.jsonl");
    let (log, records) =
        Log::open(&transcript).with_context(|| format!("cannot open {}", transcript.display()))?;
    let listener =
        TcpListener::bind(config.listen).with_context(|| format!("cannot listen on {}", config.listen))?;
    listener.set_nonblocking(true)?;
    // Before the agent or anybody else can change the home.
    let looking = config.clone();
    let (due, records) =
        tokio::task::spawn_blocking(move || (restore::look(&looking, &records), records)).await?;
    let blobs = Blobs::open(config.state.join("blobs"), config.home.clone(), config.max_artifact_mib)
        .context("cannot open the blob store")?;

    let (to_harness, commands) = mpsc::unbounded_channel();
    let (events, reports) = mpsc::channel(1024);
    let redactor = Redactor::default();
    let listening = gateway::bind(config.gateway).await;
    let address = listening.as_ref().and_then(|listening| listening.local_addr().ok());
    let gateway = Gateway { address: address.unwrap_or(config.gateway), token: token() };
    redactor.add("gateway", &gateway.token);
    let (launch, launched) = watch::channel(Launch::default());
    let granted = grants::watch(config.grants.clone(), redactor.clone());
    let (recorded, record) = watch::channel(None);
    let parts = Parts {
        harness: to_harness,
        reports,
        launch,
        grants: granted.clone(),
        gateway: gateway.clone(),
        redactor: redactor.clone(),
        blobs: blobs.clone(),
        recorded,
    };
    let engine = Engine::start(log, &records, &config, parts);
    let recordings = recording::Parts {
        socket: paths::recorder(&config.deskd_socket),
        folder: config.state.join("recordings"),
        workspace: config.workspace_uid.clone(),
        epoch: config.epoch,
        order: recording::ORDER,
        blobs: blobs.clone(),
        engine: engine.clone(),
        redactor,
    };
    Recordings::start(recordings, record);
    tell(due, &engine, &config);
    let client = gateway::client().context("cannot make an HTTP client")?;
    let (used, counted) = mpsc::unbounded_channel();
    tokio::spawn(gateway::serve(listening, gateway, client.clone(), granted.clone(), used));
    count(counted, engine.clone());
    let remotes = Remotes::start(client.clone(), granted.clone());
    tokio::spawn(deliver::secrets(config.secrets.clone(), granted.clone()));
    tokio::spawn(deliver::documents(config.home.clone(), client, granted, engine.clone()));
    let flusher = Flusher::new(engine.clone(), config.home.clone(), config.state.clone());
    let (socket, commanded) = (config.state.join(paths::CONTROL_SOCKET), flusher.clone());
    tokio::spawn(async move { control::serve(&socket, commanded).await });
    let desk = Desk::connect(config.deskd_socket.clone());
    let link = LinkOptions {
        socket: config.agent_socket.clone(),
        home: config.home.clone(),
        session_file: config.state.join("session"),
        mcp_command: config.mcp_command.clone(),
        mcp_socket: config.mcp_socket.clone(),
        launch: launched,
    };
    tokio::spawn(acp::run(link, commands, events));
    let mcp_socket = config.mcp_socket.clone();
    let tools = mcp::Server::new(engine.clone(), blobs.clone(), desk.clone(), remotes, config.ask_patience());
    let tools = tokio::spawn(async move { tools.listen(&mcp_socket).await });

    let tls = RustlsConfig::from_pem_file(config.tls.join("tls.crt"), config.tls.join("tls.key"))
        .await
        .with_context(|| format!("cannot read the certificate in {}", config.tls.display()))?;
    let auth = Auth::new(config.tls.join("tokens.pub"), config.workspace_uid.clone());
    let full = space::watch(config.state.clone());
    let router = http::router(Shared { engine, flusher: flusher.clone(), blobs, desk, auth, full, config });
    let handle = axum_server::Handle::new();
    // A word must not wait until the one before it is acknowledged: with Nagle's algorithm that takes 40 ms.
    let acceptor = RustlsAcceptor::new(tls).acceptor(NoDelayAcceptor::new());
    let server = axum_server::from_tcp(listener)?.acceptor(acceptor).handle(handle.clone());
    let server = server.serve(router.into_make_service());
    let server = tokio::spawn(server);
    if let Some(address) = handle.listening().await {
        tracing::info!(%address, "listening");
    }

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = server => ended?.context("the HTTPS server ended")?,
        ended = tools => ended?.context("the MCP socket failed")?,
    }
    handle.graceful_shutdown(Some(SHUTDOWN));
    if let Err(error) = flusher.flush().await {
        tracing::error!(%error, "the last lines of the transcript may be lost");
    }
    Ok(())
}

/// Passes on what the gateway counts.
fn count(mut counted: mpsc::UnboundedReceiver<Usage>, engine: Handle) {
    tokio::spawn(async move {
        while let Some(usage) = counted.recv().await {
            engine.used(usage).await;
        }
    });
}

/// What the agent shows to the gateway. It is made anew at each start and is written nowhere.
fn token() -> String {
    hex::encode(rand::random::<[u8; 32]>())
}

/// What a restored volume holds is told once it is known; reading it must not hold up the agent.
fn tell(due: Due, engine: &Handle, config: &Config) {
    let (engine, config) = (engine.clone(), config.clone());
    tokio::spawn(async move {
        let restored = match due {
            Due::Nothing => return,
            Due::Known(restored) => *restored,
            Due::Compare(comparison) => {
                match tokio::task::spawn_blocking(move || comparison.finish(&config)).await {
                    Ok(restored) => restored,
                    Err(error) => return tracing::error!(%error, "the restored volume could not be compared"),
                }
            }
        };
        // The engine ends with the process.
        let _ = engine.restored(restored).await;
    });
}
