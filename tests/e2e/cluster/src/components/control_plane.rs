//! etcd, the API server, the controller manager and the scheduler.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::{Component, Inputs, Login, Ready, flags, fleet, kubeconfig, well_known};
use crate::binaries::Binaries;
use crate::certs::{Authority, Subject};

/// etcd listening on one local address. It never syncs to disk: its data belongs to a cluster that can be made anew.
pub fn etcd(bin: &Binaries, data: &Path, client: &str, peer: &str) -> Component {
    let command = flags(
        bin.arg("etcd"),
        [
            "--name=etcd".to_owned(),
            format!("--data-dir={}", data.display()),
            format!("--listen-client-urls=http://{client}"),
            format!("--advertise-client-urls=http://{client}"),
            format!("--listen-peer-urls=http://{peer}"),
            format!("--initial-advertise-peer-urls=http://{peer}"),
            format!("--initial-cluster=etcd=http://{peer}"),
            "--unsafe-no-fsync=true".to_owned(),
            // Ten thousand desktops with their history are more than the default of 2 GiB.
            "--quota-backend-bytes=8589934592".to_owned(),
            "--log-level=warn".to_owned(),
            "--auto-compaction-mode=periodic".to_owned(),
            "--auto-compaction-retention=30m".to_owned(),
        ],
    );
    Component::new(
        "etcd",
        command,
        &[],
        Ready::Http { address: client.to_owned(), path: "/health".to_owned() },
    )
}

/// What distinguishes one API server from another.
pub struct ApiServer<'a> {
    /// Programs.
    pub bin: &'a Binaries,
    /// Where certificates come from.
    pub authority: &'a Authority,
    /// The address clients use.
    pub address: Ipv4Addr,
    /// The port it listens on.
    pub port: u16,
    /// Address of etcd.
    pub etcd: &'a str,
    /// An administrator's kubeconfig, to ask for readiness.
    pub kubeconfig: &'a Path,
    /// What is written down of the requests; nothing if it is not given.
    pub audit: Option<Audit>,
}

/// An audit log.
pub struct Audit {
    /// The policy's file.
    pub policy: PathBuf,
    /// The log.
    pub log: PathBuf,
}

impl ApiServer<'_> {
    /// The process.
    pub fn component(&self) -> Result<Component> {
        let ips = [
            IpAddr::V4(self.address),
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::from(well_known::SERVICE_API)),
        ];
        let names = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ];
        let serving =
            self.authority.issue("kube-apiserver", &Subject::server("kube-apiserver", &names, &ips))?;
        let to_kubelet = self.authority.issue(
            "kubelet-client",
            &Subject::client("kube-apiserver-kubelet-client", Some("system:masters")),
        )?;
        let tokens = self.authority.service_account()?;
        let ca = self.authority.ca().cert;
        let file = |p: &Path| p.display().to_string();
        let mut command = flags(
            self.bin.arg("kube-apiserver"),
            [
                format!("--etcd-servers=http://{}", self.etcd),
                format!("--advertise-address={}", self.address),
                format!(
                    "--bind-address={}",
                    if self.address.is_loopback() { "127.0.0.1" } else { "0.0.0.0" }
                ),
                format!("--secure-port={}", self.port),
                "--authorization-mode=Node,RBAC".to_owned(),
                "--allow-privileged=true".to_owned(),
                "--enable-admission-plugins=NodeRestriction".to_owned(),
                // Without it logs and exec would look the node's name up in a DNS that does not know it.
                "--kubelet-preferred-address-types=InternalIP".to_owned(),
                format!("--kubelet-certificate-authority={}", file(&ca)),
                format!("--kubelet-client-certificate={}", file(&to_kubelet.cert)),
                format!("--kubelet-client-key={}", file(&to_kubelet.key)),
                format!("--client-ca-file={}", file(&ca)),
                format!("--tls-cert-file={}", file(&serving.cert)),
                format!("--tls-private-key-file={}", file(&serving.key)),
                "--service-account-issuer=https://kubernetes.default.svc.cluster.local".to_owned(),
                format!("--service-account-key-file={}", file(&tokens.cert)),
                format!("--service-account-signing-key-file={}", file(&tokens.key)),
                format!("--service-cluster-ip-range={}", well_known::SERVICE_CIDR),
                "--profiling=false".to_owned(),
                "--endpoint-reconciler-type=lease".to_owned(),
                "--shutdown-send-retry-after=false".to_owned(),
            ],
        );
        if let Some(audit) = &self.audit {
            command.push(format!("--audit-policy-file={}", file(&audit.policy)));
            command.push(format!("--audit-log-path={}", file(&audit.log)));
            // One file: whoever counts remembers how far they have read.
            command.push("--audit-log-maxsize=16000".to_owned());
        }
        let ask = [
            self.bin.arg("kubectl"),
            format!("--kubeconfig={}", self.kubeconfig.display()),
            "--request-timeout=2s".to_owned(),
            "get".to_owned(),
            "--raw=/readyz".to_owned(),
        ];
        Ok(Component::new("kube-apiserver", command, &["etcd"], Ready::Command(ask.to_vec())))
    }
}

pub(super) fn render(inputs: &Inputs<'_>, authority: &Authority) -> Result<Vec<Component>> {
    let (bin, node) = (inputs.bin, inputs.net.node());
    let server = inputs.net.api_url();
    let login = |file: &str, user: &str, group: Option<&str>| -> Result<String> {
        let path = inputs.config_file(&format!("{file}.kubeconfig"));
        let subject = Subject::client(user, group);
        kubeconfig(authority, &Login { server: &server, file, subject, context: &inputs.paths.name }, &path)?;
        Ok(path.display().to_string())
    };
    let admin = Subject::client("a8s-admin", Some("system:masters"));
    let context = format!("a8s-{}", inputs.paths.name);
    kubeconfig(
        authority,
        &Login { server: &server, file: "admin", subject: admin, context: &context },
        &inputs.paths.kubeconfig(),
    )?;
    let etcd = etcd(bin, &inputs.paths.state.join("etcd"), well_known::ETCD, "127.0.0.1:2380");
    let api = ApiServer {
        bin,
        authority,
        address: node,
        port: well_known::API_PORT,
        etcd: well_known::ETCD,
        kubeconfig: &inputs.paths.kubeconfig(),
        audit: fleet::audit(inputs)?,
    };
    let (ca, tokens) = (authority.ca(), authority.service_account()?);
    let manager = login("kube-controller-manager", "system:kube-controller-manager", None)?;
    let manager = flags(
        bin.arg("kube-controller-manager"),
        [
            format!("--kubeconfig={manager}"),
            format!("--root-ca-file={}", ca.cert.display()),
            format!("--cluster-signing-cert-file={}", ca.cert.display()),
            format!("--cluster-signing-key-file={}", ca.key.display()),
            format!("--service-account-private-key-file={}", tokens.key.display()),
            "--use-service-account-credentials=true".to_owned(),
            "--allocate-node-cidrs=false".to_owned(),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            // With the defaults (20/s) ten claims bound at once wait for each other by 50 ms steps.
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
            "--profiling=false".to_owned(),
        ],
    );
    let scheduler = login("kube-scheduler", "system:kube-scheduler", None)?;
    let scheduler = flags(
        bin.arg("kube-scheduler"),
        [
            format!("--kubeconfig={scheduler}"),
            format!("--authentication-kubeconfig={scheduler}"),
            format!("--authorization-kubeconfig={scheduler}"),
            "--leader-elect=false".to_owned(),
            "--bind-address=127.0.0.1".to_owned(),
            "--kube-api-qps=200".to_owned(),
            "--kube-api-burst=400".to_owned(),
        ],
    );
    Ok(vec![
        etcd,
        api.component()?,
        Component::new("kube-controller-manager", manager, &["kube-apiserver"], Ready::Running),
        Component::new("kube-scheduler", scheduler, &["kube-apiserver"], Ready::Running),
    ])
}
