//! Storage: the snapshot controller, the local CSI driver and its sidecars, all beside the kubelet, none in a pod.
//! Sidecars end with the driver they talk to, so they follow its restarts.

use anyhow::Result;

use super::{Component, Inputs, Login, Ready, flags, kubeconfig, well_known};
use crate::certs::{Authority, Subject};

/// Size of the sparse file that holds all volumes.
const POOL_SIZE: &str = "20Gi";

pub(super) fn render(inputs: &Inputs<'_>, authority: &Authority) -> Result<Vec<Component>> {
    let login = inputs.config_file("storage.kubeconfig");
    let server = inputs.net.api_url();
    // Administrator's rights: these processes stand outside the cluster's own rules, like its control plane.
    let subject = Subject::client("a8s-storage", Some("system:masters"));
    kubeconfig(
        authority,
        &Login { server: &server, file: "storage", subject, context: &inputs.paths.name },
        &login,
    )?;
    let login = format!("--kubeconfig={}", login.display());
    // The defaults (5/s) turn a snapshot of 30 ms into one of a second.
    let rates = || ["--kube-api-qps=200".to_owned(), "--kube-api-burst=400".to_owned()];
    // Group snapshots would make it wait half a minute for definitions that are not installed.
    let no_groups = "--feature-gates=CSIVolumeGroupSnapshot=false".to_owned();
    let [qps, burst] = rates();
    let controller = flags(
        inputs.bin.arg("snapshot-controller"),
        [login.clone(), qps, burst, no_groups.clone(), "--retry-interval-start=100ms".to_owned()],
    );
    let mut all =
        vec![Component::new("snapshot-controller", controller, &["kube-apiserver"], Ready::Running)];
    let Some(driver) = inputs.csi_driver else { return Ok(all) };
    let data = inputs.paths.state.join("csi");
    std::fs::create_dir_all(&data)?;
    let command = flags(
        driver.display().to_string(),
        [
            format!("--state-dir={}", data.display()),
            format!("--image-file={}", data.join("volumes.img").display()),
            format!("--size={POOL_SIZE}"),
            format!("--csi-socket={}", well_known::CSI_SOCKET),
            format!("--registration-dir={}/plugins_registry", well_known::KUBELET),
            format!("--kubelet-dir={}", well_known::KUBELET),
            format!("--node-name={}", inputs.paths.name),
        ],
    );
    all.push(Component::new("csi-driver", command, &["kubelet"], Ready::Unix(well_known::CSI_SOCKET.into())));
    let socket = format!("--csi-address={}", well_known::CSI_SOCKET);
    let retry = "--retry-interval-start=100ms".to_owned();
    let sidecar = |name: &str, extra: &[String]| {
        let mut command = vec![inputs.bin.arg(name), login.clone(), socket.clone(), retry.clone()];
        command.extend(rates());
        command.extend_from_slice(extra);
        let mut component = Component::new(name, command, &["csi-driver"], Ready::Running);
        component.follows = Some("csi-driver".to_owned());
        component
    };
    all.push(sidecar("csi-provisioner", &["--extra-create-metadata=true".to_owned()]));
    all.push(sidecar("csi-snapshotter", &[no_groups]));
    Ok(all)
}
