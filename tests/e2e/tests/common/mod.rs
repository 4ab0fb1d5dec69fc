//! What the cases share: one cluster a test file, waiting on conditions, and the figures of a weather table.

pub mod browser;
mod traces;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use a8s_cluster::{Cluster, Options, Paths, lifecycle};
use anyhow::{Context, Result, bail};
use serde_json::Value;

/// Namespace that the cases work in.
pub const DEMO: &str = "demo";

/// Repository root.
pub fn repo() -> PathBuf {
    Path::new(&std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it"))
        .ancestors()
        .nth(2)
        .map(Path::to_path_buf)
        .unwrap_or_default()
}

/// Kinds that come and go with desktops.
const KINDS: [&str; 10] = [
    "sessions",
    "workspaces",
    "snapshots",
    "messages",
    "artifacts",
    "pods",
    "pvc",
    "secrets",
    "networkpolicies",
    "volumesnapshots",
];

/// Everything of the namespace, and volumes and snapshots in the cluster and in the driver's pool.
pub fn everything(desk: &Desk) -> Result<BTreeSet<String>> {
    let cluster = desk.cluster().kubectl();
    let mut all = BTreeSet::new();
    let names = desk.kubectl(&["get", &KINDS.join(","), "-o", "name"])?;
    all.extend(names.lines().map(str::to_owned));
    for kind in ["pv", "volumesnapshotcontents"] {
        all.extend(cluster.run(&["get", kind, "-o", "name"])?.lines().map(str::to_owned));
    }
    all.extend(desk.backend()?);
    Ok(all)
}

/// A cluster with a8s in it; it is removed when the test ends, however it ends.
pub struct Desk {
    cluster: Option<Cluster>,
}

impl Desk {
    /// Brings the cluster up without the sample. `A8S_CLUSTER_NAME` names another one, for two runs beside each other;
    /// `A8S_ATTACH` takes it as it runs.
    pub fn up() -> Result<Self> {
        let name = std::env::var("A8S_CLUSTER_NAME").unwrap_or_else(|_| "e2e".to_owned());
        if std::env::var_os("A8S_ATTACH").is_some() {
            return Ok(Self { cluster: Some(Cluster::attach(Paths::from_env(&name)?)?) });
        }
        let tool = std::env::var_os("A8S_CLUSTER_BIN").map(PathBuf::from);
        let options = Options { product: true, sample: false, tool, ..Options::default() };
        Ok(Self { cluster: Some(Cluster::up(&name, &options)?) })
    }

    /// Ends the cluster's first process as a crash would, removes the cluster, and looks whether anything of it is left.
    pub fn down_after_a_crash(mut self) -> Result<()> {
        let cluster = self.cluster.take().context("present until drop")?;
        let traces = traces::Traces::of(&cluster.paths)?;
        let before = traces.left();
        for kind in ["process", "loop device", "interface", "network namespace", "control group", "folder"] {
            anyhow::ensure!(
                before.iter().any(|l| l.starts_with(kind)),
                "no {kind} of a running cluster is seen: {before:?}"
            );
        }
        let init = lifecycle::running(&cluster.paths).context("the cluster runs")?.init;
        let killed = Command::new("kill").args(["-9", &init.pid.to_string()]).status()?;
        anyhow::ensure!(killed.success(), "the cluster's first process can be killed");
        cluster.down()?;
        let left = traces.left();
        anyhow::ensure!(left.is_empty(), "left on the machine: {left:#?}");
        Ok(())
    }

    /// The cluster.
    pub fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("present until drop")
    }

    /// What is in the driver's pool: volumes and snapshots, and the driver's records of them.
    pub fn backend(&self) -> Result<Vec<String>> {
        let paths = &self.cluster().paths;
        let init = lifecycle::running(paths).context("the cluster runs")?.init;
        // The pool is mounted in the cluster's own namespace only.
        let inside = PathBuf::from(format!("/proc/{}/root", init.pid));
        let pool = inside.join(paths.state.strip_prefix("/")?).join("csi/mnt");
        let mut all = Vec::new();
        for folder in ["volumes", "snapshots"] {
            let entries = std::fs::read_dir(pool.join(folder))
                .with_context(|| format!("reading the pool's {folder}"))?;
            all.extend(entries.flatten().map(|e| format!("{folder}/{}", e.file_name().display())));
        }
        Ok(all)
    }

    /// kubectl in the demo namespace.
    pub fn kubectl(&self, args: &[&str]) -> Result<String> {
        let mut all = vec!["-n", DEMO];
        all.extend_from_slice(args);
        self.cluster().kubectl().run(&all)
    }

    /// One object as JSON; `None` if it is not there.
    pub fn get(&self, kind: &str, name: &str) -> Option<Value> {
        let text = self.kubectl(&["get", kind, name, "-o", "json", "--ignore-not-found"]).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// All objects of a kind.
    pub fn list(&self, kind: &str) -> Vec<Value> {
        let text = self.kubectl(&["get", kind, "-o", "json"]).unwrap_or_default();
        let list: Value = serde_json::from_str(&text).unwrap_or_default();
        list["items"].as_array().cloned().unwrap_or_default()
    }

    /// Applies manifests in the demo namespace.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        std::fs::write(file.path(), manifests)?;
        self.kubectl(&["apply", "-f", &file.path().display().to_string()]).map(drop)
    }

    /// Waits until `probe` gives something; on time-out the cluster's state is printed.
    pub fn until<T>(
        &self,
        what: &str,
        limit: Duration,
        mut probe: impl FnMut(&Self) -> Option<T>,
    ) -> Result<T> {
        let begun = Instant::now();
        while begun.elapsed() < limit {
            if let Some(found) = probe(self) {
                eprintln!("  {what}: {:.1} s", begun.elapsed().as_secs_f64());
                return Ok(found);
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        for kind in ["sessions", "workspaces", "snapshots", "artifacts", "messages", "pods", "pvc"] {
            eprintln!("--- {kind}\n{}", self.kubectl(&["get", kind, "-o", "wide"]).unwrap_or_default());
        }
        eprintln!("{}", self.kubectl(&["get", "events", "--sort-by=.lastTimestamp"]).unwrap_or_default());
        eprintln!("{}", self.kubectl(&["get", "sessions,workspaces", "-o", "yaml"]).unwrap_or_default());
        let logs = ["-n", "a8s-system", "logs", "deployment/a8s-controller", "--tail=60"];
        eprintln!("{}", self.cluster().kubectl().run(&logs).unwrap_or_default());
        bail!("{what}: not within {limit:?}")
    }

    /// Logs in to the console with a token of the demo account; the header that says so from then on.
    fn log_in(&self) -> Result<String> {
        let url = self.cluster().console_url();
        let jar = tempfile::NamedTempFile::new()?;
        let body = serde_json::json!({"token": self.cluster().token()?.trim()});
        curl(post(&url, &body)?.1.arg("-c").arg(jar.path()).arg(format!("{url}/api/login")))
            .context("logging in to the console")?;
        // curl keeps a Secure cookie from http, browsers trust localhost: write the cookie out by hand.
        let cookie = std::fs::read_to_string(jar.path())?;
        let pair = cookie.lines().filter_map(|l| {
            let fields: Vec<_> = l.trim_start_matches("#HttpOnly_").split('\t').collect();
            (fields.len() == 7).then(|| format!("{}={}", fields[5], fields[6]))
        });
        Ok(format!("Cookie: {}", pair.collect::<Vec<_>>().join("; ")))
    }

    /// A call of the console's page, below the demo namespace.
    #[allow(dead_code, reason = "not every test file calls")]
    pub fn console(&self, path: &str, body: &Value) -> Result<()> {
        let url = self.cluster().console_url();
        let header = self.log_in()?;
        curl(post(&url, body)?.1.args(["-H", &header]).arg(format!("{url}/api/namespaces/{DEMO}/{path}")))
            .with_context(|| format!("POST {path}"))
    }

    /// Downloads an Artifact as a person would: through the console, with a token of the demo account.
    pub fn download(&self, artifact: &str, to: &Path) -> Result<()> {
        let url = self.cluster().console_url();
        let header = self.log_in()?;
        curl(
            Command::new("curl")
                .args(["-sS", "--fail-with-body", "-H", &header, "-o"])
                .arg(to)
                .arg(format!("{url}/api/namespaces/{DEMO}/artifacts/{artifact}/content")),
        )
        .with_context(|| format!("downloading {artifact}"))
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        if std::env::var_os("A8S_KEEP_CLUSTER").is_some() {
            return;
        }
        if let Some(Err(error)) = self.cluster.take().map(Cluster::down) {
            eprintln!("the cluster could not be removed: {error:#}");
        }
    }
}

/// A POST of the console's page; the file with the body must live as long as the call.
fn post(url: &str, body: &Value) -> Result<(tempfile::NamedTempFile, Command)> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), body.to_string())?;
    let mut command = Command::new("curl");
    command
        .args(["-sS", "--fail-with-body", "-X", "POST", "-H", &format!("Origin: {url}"), "-H", "X-A8s: 1"])
        .args(["-H", "Content-Type: application/json", "-o", "/dev/null", "--data-binary"])
        .arg(format!("@{}", file.path().display()));
    Ok((file, command))
}

fn curl(command: &mut Command) -> Result<()> {
    let output = command.output().context("starting curl")?;
    if output.status.success() {
        return Ok(());
    }
    bail!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Status of a condition.
pub fn condition(object: &Value, kind: &str) -> Option<(String, String)> {
    let all = object["status"]["conditions"].as_array()?;
    let found = all.iter().find(|c| c["type"] == kind)?;
    Some((found["status"].as_str()?.to_owned(), found["reason"].as_str()?.to_owned()))
}

/// Whether a condition is `True`.
pub fn is_true(object: &Value, kind: &str) -> bool {
    condition(object, kind).is_some_and(|(status, _)| status == "True")
}

/// Total rain of each year in a table, computed here and not by the product.
pub fn yearly_rain(csv: &str) -> Vec<(String, f64)> {
    let mut years: std::collections::BTreeMap<String, f64> = std::collections::BTreeMap::new();
    for line in csv.lines().skip(1).filter(|l| !l.trim().is_empty()) {
        let mut fields = line.split(',');
        let year: String = fields.next().unwrap_or_default().chars().take(4).collect();
        let rain: f64 = fields.next().and_then(|f| f.parse().ok()).unwrap_or(0.0);
        *years.entry(year).or_default() += rain;
    }
    years.into_iter().collect()
}

/// Words of a PDF.
pub fn pdf_text(file: &Path) -> Result<String> {
    let output = Command::new("pdftotext").arg("-layout").arg(file).arg("-").output().context("pdftotext")?;
    Ok(String::from_utf8_lossy(&output.stdout).replace([',', '\u{202f}', '\u{a0}'], ""))
}

/// The figures of `csv` are in the PDF, each rounded as people read them.
pub fn assert_figures(pdf: &Path, csv: &str) -> Result<()> {
    let text = pdf_text(pdf)?;
    for (year, rain) in yearly_rain(csv) {
        let spellings = [format!("{rain:.1}"), format!("{rain:.0}")];
        let there = text.contains(&year) && spellings.iter().any(|s| text.contains(s));
        anyhow::ensure!(there, "{year} with {rain:.1} mm of rain is not in the PDF:\n{text}");
    }
    Ok(())
}
