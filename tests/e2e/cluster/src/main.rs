//! `a8s-cluster`: brings the embedded cluster up and down. Arguments only; the work is in the library.

use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use a8s_cluster::network::Network;
use a8s_cluster::{
    Cluster, Options, Paths, Progress, current, down, forward, images, lifecycle, products, supervise,
};
use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(about = "The embedded Kubernetes cluster of a8s", version)]
struct Cli {
    #[command(subcommand)]
    action: Action,
}

#[derive(Args)]
struct Name {
    /// The cluster's name.
    #[arg(long, env = "CLUSTER", default_value = "a8s")]
    name: String,
}

#[derive(Subcommand)]
enum Action {
    /// Build, start and fill the cluster; on a running one, update what changed.
    Up {
        #[command(flatten)]
        name: Name,
        /// Install into the current kubectl context instead (also CLUSTER=current).
        #[arg(long)]
        current: bool,
        /// Only Kubernetes with storage, without a8s.
        #[arg(long)]
        bare: bool,
        /// Do not apply the sample.
        #[arg(long)]
        no_sample: bool,
        /// More arguments for helm, with --current.
        #[arg(last = true)]
        helm: Vec<String>,
    },
    /// Say what runs.
    Status(Name),
    /// Remove the cluster and everything of it.
    Down {
        #[command(flatten)]
        name: Name,
        /// Keep volumes and objects for the next `up`.
        #[arg(long)]
        keep_data: bool,
    },
    /// Print what a shell needs: `eval $(a8s-cluster env)`.
    Env(Name),
    /// Build the images, and import them if the cluster runs.
    Images(Name),
    /// Print a token for the console.
    Token(Name),
    /// Print a process' log, or the names of the logs.
    Logs {
        #[command(flatten)]
        name: Name,
        /// The process.
        component: Option<String>,
    },
    /// Run kubectl as the cluster's administrator.
    Kubectl {
        #[command(flatten)]
        name: Name,
        /// Its arguments.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Be the first process of a cluster; started by `up`.
    #[command(hide = true)]
    Supervise(Name),
    /// Carry connections to the console; started by `up`.
    #[command(hide = true)]
    Forward {
        #[arg(long)]
        listen: SocketAddr,
        #[arg(long)]
        to: SocketAddr,
    },
}

fn main() -> ExitCode {
    match act(Cli::parse().action) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("a8s-cluster: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(action: Action) -> Result<ExitCode> {
    match action {
        Action::Up { name, current, helm, .. } if current || name.name == "current" => {
            current::up(&Paths::from_env("a8s")?, &helm)?;
        }
        Action::Up { name, bare, no_sample, .. } => {
            let options = Options { product: !bare, sample: !no_sample, ..Options::default() };
            greet(&Cluster::up(&name.name, &options)?, bare);
        }
        Action::Status(name) => return status(&Paths::from_env(&name.name)?),
        Action::Down { name, keep_data } => {
            let paths = Paths::from_env(&name.name)?;
            let progress = Progress::new(1);
            progress.step(&format!("remove cluster {}", paths.name), || down::down(&paths, keep_data))?;
        }
        Action::Env(name) => {
            let cluster = Cluster::attach(Paths::from_env(&name.name)?)?;
            println!("export KUBECONFIG={}", cluster.kubeconfig().display());
            println!("export PATH={}:$PATH", cluster.kubectl_folder().display());
        }
        Action::Images(name) => build_images(Paths::from_env(&name.name)?)?,
        Action::Token(name) => println!("{}", Cluster::attach(Paths::from_env(&name.name)?)?.token()?),
        Action::Logs { name, component } => logs(&Paths::from_env(&name.name)?, component.as_deref())?,
        Action::Kubectl { name, args } => {
            let cluster = Cluster::attach(Paths::from_env(&name.name)?)?;
            return Err(cluster.kubectl().command().args(args).exec()).context("running kubectl");
        }
        Action::Supervise(name) => supervise::run(&Paths::from_env(&name.name)?)?,
        Action::Forward { listen, to } => {
            tokio::runtime::Runtime::new()?.block_on(forward::serve(listen, to))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn greet(cluster: &Cluster, bare: bool) {
    let name = &cluster.paths.name;
    println!("\nCluster {name} is up.");
    println!("  kubectl:  export KUBECONFIG={}", cluster.kubeconfig().display());
    println!("            export PATH={}:$PATH", cluster.kubectl_folder().display());
    if !bare {
        println!("  console:  {}", cluster.console_url());
        println!(
            "  log in:   with the token that `make token` prints (or `kubectl create token demo -n demo`)"
        );
    }
    println!(
        "  remove:   make down{}",
        if name == "a8s" { String::new() } else { format!(" CLUSTER={name}") }
    );
}

/// Prints; a reader that went away (`| head`) is no error.
fn say(text: &str) -> Result<()> {
    match writeln!(std::io::stdout(), "{text}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error).context("printing"),
        _ => Ok(()),
    }
}

fn status(paths: &Paths) -> Result<ExitCode> {
    let running = lifecycle::running(paths).is_some();
    let Some(network) = Network::known(paths)?.filter(|_| running || paths.state.exists()) else {
        say(&format!("cluster {}: not there", paths.name))?;
        return Ok(ExitCode::FAILURE);
    };
    if !running {
        say(&format!("cluster {}: stopped, its data is in {}", paths.name, paths.state.display()))?;
        return Ok(ExitCode::FAILURE);
    }
    say(&format!("cluster {}: running, state in {}", paths.name, paths.state.display()))?;
    say(&format!("  api      {}\n  console  {}", network.api_url(), network.console_url()))?;
    let all = lifecycle::status(paths);
    for s in &all {
        say(&format!("  {:24} {:?} (restarts {})", s.name, s.state, s.restarts))?;
    }
    let ready = !all.is_empty() && all.iter().all(|s| s.state == supervise::ProcessState::Ready);
    if let Ok(cluster) = Cluster::attach(paths.clone()) {
        match cluster.kubectl().run(&["get", "nodes,pods", "--all-namespaces", "--request-timeout=5s"]) {
            Ok(text) => say(&format!("\n{}", text.trim_end()))?,
            Err(error) => say(&format!("\nthe API server does not answer: {error:#}"))?,
        }
    }
    Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn build_images(paths: Paths) -> Result<()> {
    let progress = Progress::new(3);
    progress.step("a8s binaries", || products::build(&paths, products::PACKAGES, &progress))?;
    let built = progress.step("images", || images::build_all(&paths, &progress))?;
    if lifecycle::running(&paths).is_some() {
        let cluster = Cluster::attach(paths)?;
        progress.step("import", || cluster.import(&built, &progress))?;
    }
    for image in built {
        println!("{} {}", image.reference, image.archive.display());
    }
    Ok(())
}

fn logs(paths: &Paths, component: Option<&str>) -> Result<()> {
    let Some(component) = component else {
        let mut names: Vec<_> = std::fs::read_dir(paths.logs())?.flatten().map(|e| e.path()).collect();
        names.sort();
        for name in names.iter().filter_map(|p| p.file_stem()) {
            println!("{}", name.to_string_lossy());
        }
        return Ok(());
    };
    let file: PathBuf = paths.logs().join(format!("{component}.log"));
    if std::io::stdout().is_terminal() {
        return Err(std::process::Command::new("less").arg("+G").arg(&file).exec()).context("running less");
    }
    let mut log =
        std::fs::File::open(&file).with_context(|| format!("there is no log {}", file.display()))?;
    std::io::copy(&mut log, &mut std::io::stdout())?;
    Ok(())
}
