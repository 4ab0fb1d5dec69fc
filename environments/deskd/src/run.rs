//! From an empty container to a desktop, and back.

use std::{
    path::PathBuf,
    pin::Pin,
    sync::{Arc, Mutex},
    time::Duration,
};

use a8s_wire::token::TokenVerifier;
use anyhow::Context;
use axum_server::Handle;
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use crate::{
    boot::{
        children::Children,
        home, pulse, repair,
        services::{Environment, Services},
        shutdown, xvnc,
    },
    desk::Desk,
    evidence::{self, Evidence},
    fake::Desktop,
    http,
    lease::Lease,
    mcp,
    options::{After, Backend, DesktopConfig, Options},
    record::{self, Recorder},
    screen::Screen,
    windows::Windows,
};

/// A question to the X server costs a tenth of a millisecond, and people wait for the panel.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Runs the desktop until it is told to stop (success) or cannot go on (error; the kubelet then starts the container again).
///
/// Boxed, so that it is compiled here once and not again in every program and test that calls it.
pub fn run(options: Options) -> Pin<Box<dyn Future<Output = anyhow::Result<()>> + Send>> {
    Box::pin(work(options))
}

async fn work(options: Options) -> anyhow::Result<()> {
    let began = Instant::now();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    // The runner has the same group and must be able to work with the files of the home.
    nix::sys::stat::umask(nix::sys::stat::Mode::S_IWOTH);
    // Who asks from now on waits for the answer, where a refused connection would be tried again only later.
    let people = http::listen(options.listen)?;
    let agents = mcp::listen(&options.socket)?;
    let takers = record::listen(&options.socket)?;
    let keys = options.tls.join("tokens.pub");
    let pem = std::fs::read_to_string(&keys).with_context(|| format!("cannot read {}", keys.display()))?;
    let tokens = TokenVerifier::from_pem(&pem, &options.workspace_uid)
        .with_context(|| format!("cannot use {}", keys.display()))?;

    let stop = CancellationToken::new();
    let stage = match options.backend {
        Backend::Xvnc => raise(options, &stop).await?,
        Backend::Fake => pretend(options)?,
    };
    let (ended, xvnc) = (stage.ended, stage.xvnc);
    let desk = furnish(stage.parts, Some(tokens), began).await?;
    tokio::spawn(evidence::watch(desk.clone(), stop.clone()));
    tokio::spawn(record::serve(desk.recorder.clone(), takers));

    let handle = Handle::new();
    let announce = handle.clone();
    let number = desk.options.display.0;
    tokio::spawn(async move {
        if let Some(address) = announce.listening().await {
            tracing::info!(%address, display = number, "serving");
        }
    });
    let server = http::serve(desk.clone(), people, &desk.options.tls, handle);
    let outcome = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        text = ended => Err(anyhow::anyhow!("Xvnc {text}")),
        text = pulse::lost(&desk.windows) => Err(anyhow::anyhow!(text)),
        done = server => done.and_then(|()| Err(anyhow::anyhow!("the HTTPS server ended"))),
        done = mcp::serve(desk.clone(), agents) => done.context("the MCP server ended"),
    };
    stop.cancel();
    if let Some(xvnc) = xvnc {
        shutdown::stop_all(xvnc).await;
    }
    outcome
}

/// A fake display with the agent's tools on `options.socket` and nothing else, in this process: what the tests of other crates need. The
/// lease is changed by [`Desk::set_control`].
pub fn embed(options: Options) -> Pin<Box<dyn Future<Output = anyhow::Result<Arc<Desk>>> + Send>> {
    Box::pin(embedded(options))
}

async fn embedded(options: Options) -> anyhow::Result<Arc<Desk>> {
    let agents = mcp::listen(&options.socket)?;
    let takers = record::listen(&options.socket)?;
    let stage = pretend(options)?;
    let desk = furnish(stage.parts, None, Instant::now()).await?;
    tokio::spawn(mcp::serve(desk.clone(), agents));
    tokio::spawn(record::serve(desk.recorder.clone(), takers));
    Ok(desk)
}

/// A display, and what runs on it.
struct Stage {
    parts: Parts,
    /// Why the display has ended.
    ended: Pin<Box<dyn Future<Output = String> + Send>>,
    /// Process id of the X server.
    xvnc: Option<u32>,
}

struct Parts {
    programs: Programs,
    rfb: PathBuf,
    fake: Option<Arc<Desktop>>,
}

/// Starts the X server and the desktop's own programs.
async fn raise(options: Options, stop: &CancellationToken) -> anyhow::Result<Stage> {
    let children = Children::reap().context("cannot watch child processes")?;
    let config = DesktopConfig::read(&options.config)?;
    prepare_display(&options)?;
    let preparing = options.clone();
    // The X server does not look into the home, so it starts while the home is put in order.
    let home = tokio::task::spawn_blocking(move || prepare_home(&preparing));
    let display = xvnc::start(&options, &children).await?;
    home.await.context("the home could not be prepared")??;
    let programs = Programs {
        environment: Environment::new(&options, display.number, &display.xauthority),
        windows: Windows::new(display.number, display.cookie),
        services: Services::default(),
        children,
        options,
        config,
    };
    // First of all: the window manager is what a start waits for longest.
    start_services(&programs, stop);
    let ended = display.ended;
    Ok(Stage {
        parts: Parts { programs, rfb: display.rfb, fake: None },
        ended: Box::pin(async { ended.await.map(|exit| exit.text).unwrap_or_default() }),
        xvnc: Some(display.pid),
    })
}

/// Starts the fake display; no process, no program.
fn pretend(options: Options) -> anyhow::Result<Stage> {
    let private = options.run_dir.join("a8s");
    home::make_private_dir(&private).with_context(|| format!("cannot make {}", private.display()))?;
    if options.skel.is_dir() {
        home::seed(&options.home, &options.skel)
            .with_context(|| format!("cannot seed the home {}", options.home.display()))?;
    }
    let rfb = private.join("rfb.sock");
    let size = (options.geometry.width, options.geometry.height);
    let desktop = Desktop::start(size, &rfb, options.home.clone())?;
    let programs = Programs {
        environment: Environment::new(&options, options.display.0, &private.join("xauthority")),
        windows: Windows::fake(desktop.clone()),
        services: Services::default(),
        children: Children::default(),
        options,
        config: DesktopConfig::default(),
    };
    let parts = Parts { programs, rfb, fake: Some(desktop) };
    Ok(Stage { parts, ended: Box::pin(std::future::pending()), xvnc: None })
}

async fn furnish(parts: Parts, tokens: Option<TokenVerifier>, began: Instant) -> anyhow::Result<Arc<Desk>> {
    let Parts { programs, rfb, fake } = parts;
    let Programs { options, config, environment, windows, services, children } = programs;
    let lease = Arc::new(Lease::open(options.run_dir.join("a8s/lease.json")));
    let screen = Screen::connect(&rfb, &lease).await?;
    // A private desktop stays private when deskd starts anew.
    let recorder = Arc::new(Recorder::new(rfb.clone(), lease.state().private));
    Ok(Arc::new(Desk {
        options,
        config,
        environment,
        windows,
        services,
        children,
        evidence: Evidence::new(began),
        fake,
        recorder,
        shown: Mutex::default(),
        acting: tokio::sync::Mutex::default(),
        rfb,
        lease,
        screen,
        tokens,
    }))
}

fn prepare_display(options: &Options) -> anyhow::Result<()> {
    if std::process::id() == 1 {
        // Nothing else runs in this container yet, so whatever locks there are belong to the dead.
        home::remove_display_locks(options.display.0);
    } else {
        nix::sys::prctl::set_child_subreaper(true).context("cannot become the parent of orphans")?;
    }
    home::remove(&options.run_dir.join("bus"));
    Ok(())
}

fn prepare_home(options: &Options) -> anyhow::Result<()> {
    if let Err(error) = home::write_machine_id(&options.machine_id, &options.workspace_uid) {
        tracing::warn!(%error, path = %options.machine_id.display(), "this machine has no identity of its own");
    }
    let seeded = home::seed(&options.home, &options.skel)
        .with_context(|| format!("cannot seed the home {}", options.home.display()))?;
    // The runtime directory lives as long as the pod.
    let first = options.run_dir.join("a8s-began");
    if seeded {
        tracing::info!(home = %options.home.display(), "seeded a new home");
    } else {
        let note = options.socket.with_file_name("repaired");
        repair::repair(&options.home, !first.exists(), &note);
    }
    std::fs::write(&first, "").with_context(|| format!("cannot write {}", first.display()))
}

/// What it takes to run the desktop's own programs.
#[derive(Clone)]
struct Programs {
    options: Options,
    config: DesktopConfig,
    environment: Environment,
    windows: Windows,
    services: Services,
    children: Children,
}

impl Programs {
    fn keep(&self, after: After, stop: &CancellationToken) {
        for service in self.config.services.iter().filter(|service| service.after == after) {
            self.services.keep(&self.options, &self.environment, &self.children, service, stop);
        }
    }
}

fn start_services(programs: &Programs, stop: &CancellationToken) {
    programs.config.services.iter().for_each(|service| programs.services.expect(service));
    programs.keep(After::Display, stop);
    let (programs, stop) = (programs.clone(), stop.clone());
    tokio::spawn(async move {
        while !matches!(programs.windows.managed().await, Ok(true)) {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_AGAIN) => {}
            }
        }
        programs.keep(After::Wm, &stop);
    });
}
