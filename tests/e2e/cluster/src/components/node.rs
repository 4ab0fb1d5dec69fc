//! The node: containerd, the kubelet, kube-proxy and CoreDNS.

use std::net::IpAddr;

use anyhow::Result;
use serde_json::json;

use super::files::{config, stamp};
use super::{Component, Inputs, Login, Ready, flags, kubeconfig, well_known};
use crate::certs::{Authority, Subject};

pub(super) fn render(inputs: &Inputs<'_>, authority: &Authority) -> Result<Vec<Component>> {
    Ok(vec![
        containerd(inputs)?,
        kubelet(inputs, authority)?,
        kube_proxy(inputs, authority)?,
        coredns(inputs, authority)?,
    ])
}

fn containerd(inputs: &Inputs<'_>) -> Result<Component> {
    let cni = inputs.config_file("cni");
    std::fs::create_dir_all(&cni)?;
    // Every pod has its own routed link: traffic between two pods passes the node's rules, which a shared bridge
    // would need the br_netfilter module for. Addresses are kept in /run because they end with the namespaces.
    let network = json!({
        "cniVersion": "1.0.0", "name": "a8s",
        "plugins": [
            {"type": "ptp", "ipMasq": false, "mtu": 1500, "ipam": {
                "type": "host-local", "dataDir": "/run/cni/networks",
                "ranges": [[{"subnet": well_known::POD_CIDR}]], "routes": [{"dst": "0.0.0.0/0"}]}},
            {"type": "portmap", "capabilities": {"portMappings": true}, "backend": "nftables"},
        ],
    });
    let network = config(&cni.join("10-a8s.conflist"), &network.to_string())?;
    let text = format!(
        r#"version = 3
root = "{root}"
state = "/run/containerd"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "{socket}"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
restrict_oom_score_adj = {restrict}
enable_cdi = false
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{cni_bin}"]
conf_dir = "{cni_conf}"
[plugins."io.containerd.nri.v1.nri"]
disable = true
"#,
        root = well_known::CONTAINERD,
        socket = well_known::CONTAINERD_SOCKET,
        pause = inputs.pause_image,
        restrict = !inputs.host.may_lower_oom_score,
        runc = inputs.bin.arg("runc"),
        cni_bin = inputs.bin.folder_of("ptp").display(),
        cni_conf = cni.display(),
    );
    let file = inputs.config_file("containerd.toml");
    let hash = config(&file, &text)?;
    let command = flags(inputs.bin.arg("containerd"), [format!("--config={}", file.display())]);
    let mut component =
        Component::new("containerd", command, &[], Ready::Unix(well_known::CONTAINERD_SOCKET.into()));
    component.stamp = stamp(format!("{hash}{network}").as_bytes());
    // containerd finds its shim by name.
    let path = std::env::var("PATH").unwrap_or_default();
    component.env.push((
        "PATH".to_owned(),
        format!("{}:{path}", inputs.bin.folder_of("containerd-shim-runc-v2").display()),
    ));
    Ok(component)
}

fn kubelet(inputs: &Inputs<'_>, authority: &Authority) -> Result<Component> {
    let (node, name) = (inputs.net.node(), &inputs.paths.name);
    let login = inputs.config_file("kubelet.kubeconfig");
    let subject = Subject::client(&format!("system:node:{name}"), Some("system:nodes"));
    let server = inputs.net.api_url();
    kubeconfig(authority, &Login { server: &server, file: "kubelet", subject, context: name }, &login)?;
    let serving =
        authority.issue("kubelet-serving", &Subject::server(name, &[name.as_str()], &[IpAddr::V4(node)]))?;
    let resolv = inputs.paths.resolv_conf();
    config(&resolv, &format!("nameserver {node}\n"))?;
    let mut settings = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.to_string(),
        "authentication": {"anonymous": {"enabled": false}, "webhook": {"enabled": true},
            "x509": {"clientCAFile": authority.ca().cert}},
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": serving.cert,
        "tlsPrivateKeyFile": serving.key,
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": crate::cgroup::path(name),
        "clusterDNS": [well_known::SERVICE_DNS],
        "clusterDomain": "cluster.local",
        "resolvConf": resolv,
        "containerRuntimeEndpoint": format!("unix://{}", well_known::CONTAINERD_SOCKET),
        "enforceNodeAllocatable": ["pods"],
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%", "imagefs.available": "1%"},
        // Images come from this machine and cannot be pulled again.
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "failSwapOn": false,
        "maxPods": 250,
        "registryPullQPS": 0,
        "eventRecordQPS": 0,
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
        // A machine to try things on: whatever crashed is tried again at once, not after minutes.
        "crashLoopBackOff": {"maxContainerRestartPeriod": "2s"},
        "healthzBindAddress": "127.0.0.1",
        "healthzPort": 10248,
        "logging": {"verbosity": 1},
    });
    if inputs.host.cgroup_v1 {
        settings["failCgroupV1"] = json!(false);
    }
    if !inputs.host.may_lower_oom_score {
        settings["oomScoreAdj"] = json!(0);
    }
    let file = inputs.config_file("kubelet.json");
    let hash = config(&file, &format!("{settings:#}"))?;
    let command = flags(
        inputs.bin.arg("kubelet"),
        [
            format!("--config={}", file.display()),
            format!("--kubeconfig={}", login.display()),
            format!("--root-dir={}", well_known::KUBELET),
            format!("--hostname-override={name}"),
            format!("--node-ip={node}"),
        ],
    );
    let ready = Ready::Http { address: "127.0.0.1:10248".to_owned(), path: "/healthz".to_owned() };
    let mut component = Component::new("kubelet", command, &["kube-apiserver", "containerd"], ready);
    component.stamp = hash;
    Ok(component)
}

fn kube_proxy(inputs: &Inputs<'_>, authority: &Authority) -> Result<Component> {
    let login = inputs.config_file("kube-proxy.kubeconfig");
    let subject = Subject::client("system:kube-proxy", Some("system:node-proxier"));
    let server = inputs.net.api_url();
    kubeconfig(
        authority,
        &Login { server: &server, file: "kube-proxy", subject, context: &inputs.paths.name },
        &login,
    )?;
    let settings = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": login, "qps": 100, "burst": 200},
        "clusterCIDR": well_known::POD_CIDR,
        "hostnameOverride": inputs.paths.name,
        "bindAddress": inputs.net.node().to_string(),
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        // The connection table's size is the machine's, not the cluster's.
        "conntrack": {"maxPerCore": 0, "min": 0},
        "nftables": {"minSyncPeriod": "100ms"},
        "oomScoreAdj": 0,
    });
    let file = inputs.config_file("kube-proxy.json");
    let hash = config(&file, &format!("{settings:#}"))?;
    let command = flags(inputs.bin.arg("kube-proxy"), [format!("--config={}", file.display())]);
    let ready = Ready::Http { address: "127.0.0.1:10256".to_owned(), path: "/healthz".to_owned() };
    let mut component = Component::new("kube-proxy", command, &["kube-apiserver"], ready);
    component.stamp = hash;
    Ok(component)
}

fn coredns(inputs: &Inputs<'_>, authority: &Authority) -> Result<Component> {
    let login = inputs.config_file("coredns.kubeconfig");
    let server = inputs.net.api_url();
    let subject = Subject::client("system:coredns", None);
    kubeconfig(
        authority,
        &Login { server: &server, file: "coredns", subject, context: &inputs.paths.name },
        &login,
    )?;
    // Nothing is forwarded: the cluster's network ends at this machine, and a quick "no" beats a timeout.
    let text = format!(
        r"cluster.local:53 10.in-addr.arpa:53 {{
    bind {node}
    errors
    health 127.0.0.1:8080
    kubernetes cluster.local 10.in-addr.arpa {{
        kubeconfig {login}
        pods insecure
        ttl 5
    }}
    cache 5
}}
.:53 {{
    bind {node}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
",
        node = inputs.net.node(),
        login = login.display(),
    );
    let file = inputs.config_file("Corefile");
    let hash = config(&file, &text)?;
    let command = flags(inputs.bin.arg("coredns"), ["-conf".to_owned(), file.display().to_string()]);
    let ready = Ready::Http { address: "127.0.0.1:8080".to_owned(), path: "/health".to_owned() };
    let mut component = Component::new("coredns", command, &["kube-apiserver"], ready);
    component.stamp = hash;
    Ok(component)
}
