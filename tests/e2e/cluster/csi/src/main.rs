//! `a8s-csi-btrfs`: mounts the pool, serves CSI on a socket, registers with the kubelet, and cleans up at SIGTERM.

use std::{
    fs,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use a8s_csi_btrfs::{
    DRIVER_NAME,
    csi::{controller_server::ControllerServer, identity_server::IdentityServer, node_server::NodeServer},
    pool::Pool,
    registration,
    service::{ControllerService, Driver, IdentityService, NodeService},
    store::Store,
};
use anyhow::{Context, bail};
use clap::Parser;
use tokio::{
    net::UnixListener,
    signal::unix::{SignalKind, signal},
};
use tokio_stream::wrappers::UnixListenerStream;
use tonic::transport::Server;

/// Longest path of a unix socket that the kernel takes.
const MAX_SOCKET_PATH: usize = 107;
/// How long calls in progress may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// A CSI driver for one node: btrfs subvolumes and snapshots in an image file.
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// Folder for the mounted pool and the lock.
    #[arg(long)]
    state_dir: PathBuf,
    /// The pool's image file; made if missing.
    #[arg(long)]
    image_file: PathBuf,
    /// Size of an image that is made, for example 20Gi. It takes disk space only as volumes fill.
    #[arg(long, default_value = "20Gi", value_parser = parse_size)]
    size: u64,
    /// The socket to serve CSI on.
    #[arg(long)]
    csi_socket: PathBuf,
    /// The kubelet's folder for plugin registration.
    #[arg(long)]
    registration_dir: PathBuf,
    /// The kubelet's root folder; volumes are published below it only.
    #[arg(long)]
    kubelet_dir: PathBuf,
    /// Name of this node in the cluster.
    #[arg(long)]
    node_name: String,
}

fn parse_size(text: &str) -> Result<u64, String> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];
    let (digits, shift) = units
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
        .unwrap_or((text, 0));
    let number: u64 = digits.parse().map_err(|_| format!("{text:?} is not a size like 20Gi"))?;
    number.checked_mul(1 << shift).ok_or_else(|| format!("{text} is too large"))
}

#[tokio::main]
async fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(io::stderr)
        .init();
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    // Before anything is mounted, so that an early SIGTERM still unmounts it.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let absolute = |path: &Path| std::path::absolute(path).with_context(|| path.display().to_string());
    let socket = absolute(&args.csi_socket)?;
    let registry = absolute(&args.registration_dir)?.join(format!("{DRIVER_NAME}-reg.sock"));
    fs::create_dir_all(&args.kubelet_dir).with_context(|| args.kubelet_dir.display().to_string())?;

    let store = tokio::task::spawn_blocking(move || -> anyhow::Result<Store> {
        let pool = Pool::open(&args.state_dir, &args.image_file, args.size)?;
        Ok(Store::open(pool)?)
    })
    .await??;
    let driver =
        Arc::new(Driver { store, node_name: args.node_name, kubelet_dir: args.kubelet_dir.canonicalize()? });

    // The kubelet dials the CSI socket as soon as it finds the registration socket.
    let csi = bind(&socket)?;
    let registration = bind(&registry)?;
    let info = registration::info(DRIVER_NAME, &socket.display().to_string());
    let registration = tokio::spawn(registration::serve(registration, info));
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = Server::builder()
        .add_service(IdentityServer::new(IdentityService))
        .add_service(ControllerServer::new(ControllerService(Arc::clone(&driver))))
        .add_service(NodeServer::new(NodeService(Arc::clone(&driver))))
        .serve_with_incoming_shutdown(UnixListenerStream::new(csi), async {
            // An error means the sender is gone, which also means to stop.
            let _ = stopped.await;
        });
    let mut server = tokio::spawn(server);
    tracing::info!(socket = %socket.display(), "serving");

    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        ended = &mut server => bail!("the CSI server ended: {ended:?}"),
    }
    tracing::info!("stopping");
    registration.abort();
    // First the registration: it is what tells the kubelet that the driver is gone.
    remove(&registry)?;
    remove(&socket)?;
    let _ = stop.send(());
    if tokio::time::timeout(GRACE, &mut server).await.is_err() {
        server.abort();
    }
    Ok(driver.store.pool().close()?)
}

fn bind(path: &Path) -> anyhow::Result<UnixListener> {
    let length = path.as_os_str().len();
    if length > MAX_SOCKET_PATH {
        bail!("{}: a socket's path may have {MAX_SOCKET_PATH} bytes, this has {length}", path.display());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    remove(path)?;
    UnixListener::bind(path).with_context(|| path.display().to_string())
}

fn remove(path: &Path) -> anyhow::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| path.display().to_string())
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_kubernetes_writes_them() {
        assert_eq!(parse_size("20Gi"), Ok(20 << 30));
        assert_eq!(parse_size("512Mi"), Ok(512 << 20));
        assert_eq!(parse_size("1048576"), Ok(1 << 20));
        assert!(parse_size("20GB").is_err() && parse_size("").is_err() && parse_size("99999999Ti").is_err());
    }

    #[test]
    fn a_socket_path_too_long_for_the_kernel_is_refused_with_the_reason() {
        let path = PathBuf::from(format!("/tmp/{}", "x".repeat(120)));
        assert!(bind(&path).unwrap_err().to_string().contains("107"));
    }
}
