//! `a8s-controller`: reads its settings, waits for the lease, runs the controllers of all kinds until it is told to end.

use std::{sync::Arc, time::Duration};

use a8s_controller::{
    Context, Settings, events::Events, install, lease, metrics::Metrics, pods::PodClient, protected, run,
    store, stores::Stores,
};
use clap::Parser;
use kube::client::ClientBuilder;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// So long the Events that were told last are waited for.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Reconciles every kind of a8s.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Args {
    /// Namespace of the control plane.
    #[arg(long, env = "A8S_SYSTEM_NAMESPACE", default_value = "a8s-system")]
    system_namespace: String,
    /// Image of the runner container of workspace pods.
    #[arg(long, env = "A8S_RUNNER_IMAGE")]
    runner_image: String,
    /// Artifact store: `file:///path`.
    #[arg(long, env = "A8S_STORE_URL", default_value = "file:///var/lib/a8s/artifacts")]
    store_url: String,
    /// Networks of the cluster that no desktop reaches as part of the internet, besides the API server's addresses.
    #[arg(long, env = "A8S_PROTECT", value_delimiter = ',')]
    protect: Vec<ipnet::IpNet>,
    #[command(flatten)]
    telemetry: a8s_process::Telemetry,
    #[command(flatten)]
    health: a8s_process::HealthArgs,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let _flush = a8s_process::start(&args.telemetry, env!("CARGO_PKG_NAME"));
    let stop = a8s_process::shutdown()?;
    let ready = a8s_process::Readiness::default();
    let metrics = Metrics::default();
    let mut registry = a8s_process::Registry::default();
    metrics.register(&mut registry);
    let health = a8s_process::HealthServer::bind(&args.health, ready.clone(), Arc::new(registry)).await?;
    tokio::spawn(health.serve(stop.clone()));
    let client =
        ClientBuilder::try_from(kube::Config::infer().await?)?.with_layer(&metrics.requests()).build();
    let store = store::open(&args.store_url)?;
    let install = install::ensure(&client, &args.system_namespace).await?;
    let pods = PodClient::new(&install.authority.certificate_pem, install.signing_key)?;
    let identity = std::env::var("POD_NAME").unwrap_or_else(|_| format!("process-{}", std::process::id()));
    // A replica that waits for the lease is healthy; it does nothing, as it should.
    ready.set(true);
    let held = tokio::select! {
        held = lease::acquire(client.clone(), &args.system_namespace, &identity) => held,
        () = stop.cancelled() => return Ok(()),
    };
    tracing::info!(identity, "leading");
    let events = Arc::new(Events::default());
    let work = async {
        let settings = Settings {
            system_namespace: args.system_namespace,
            runner_image: args.runner_image,
            protected: protected::addresses(&client, &args.protect).await,
        };
        let (stores, watches) = Stores::new(&client);
        let ctx = Context::new(client.clone(), settings, pods, store, install.authority, stores);
        let ctx = ctx.counting(metrics).leading(held.tenure()).telling(events.clone());
        run(Arc::new(ctx), watches).await;
    };
    tokio::select! {
        () = work => anyhow::bail!("a controller ended by itself"),
        () = held.keep() => anyhow::bail!("the lease is lost"),
        () = stop.cancelled() => {}
    }
    // Nobody tells them again; whoever waits for this process to end does not wait long for them.
    drop(tokio::time::timeout(LAST_WORDS, events.flush(&client)).await);
    held.release().await;
    Ok(())
}
