//! A driver of its own for each test: real image file, real loop device, real sockets, in a temporary folder.
//!
//! A folder is named after the test's process, so that what a killed run left (process, mounts, files) is found and
//! removed by the next one.

#![allow(dead_code, reason = "every test program uses its own part")]

use std::{
    fs,
    os::unix::net::UnixStream as StdStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
    time::{Duration, Instant},
};

use a8s_csi_btrfs::{
    csi::{
        CapacityRange, CreateSnapshotRequest, CreateVolumeRequest, DeleteSnapshotRequest,
        DeleteVolumeRequest, NodePublishVolumeRequest, NodeUnpublishVolumeRequest, Snapshot, Volume,
        VolumeCapability, VolumeContentSource,
        controller_client::ControllerClient,
        node_client::NodeClient,
        volume_capability::{AccessMode, AccessType, MountVolume, access_mode::Mode},
        volume_content_source::{SnapshotSource, Type as Content, VolumeSource},
    },
    mounts,
};
use hyper_util::rt::TokioIo;
use nix::{
    mount::{MntFlags, umount2},
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::net::UnixStream;
use tonic::{
    Status,
    transport::{Channel, Endpoint},
};

const PREFIX: &str = "a8s-csi-test-";
/// How long anything that must happen may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether this process may mount; says so if it may not.
pub fn may_mount() -> bool {
    let root = nix::unistd::Uid::effective().is_root() && Path::new("/dev/loop-control").exists();
    if !root {
        eprintln!("skipped: needs root and loop devices");
    }
    root
}

/// Waits for a condition that must come true.
pub fn eventually(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "still not so after {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// One driver and its folders.
pub struct Rig {
    pub folder: PathBuf,
    child: Option<Child>,
}

impl Rig {
    /// A running driver with an empty pool.
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static SWEPT: std::sync::Once = std::sync::Once::new();
        SWEPT.call_once(sweep);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("{PREFIX}{}-{number}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let mut rig = Self { folder: folder.canonicalize().unwrap(), child: None };
        rig.start();
        rig
    }

    /// Starts the driver and waits until the kubelet could find it.
    pub fn start(&mut self) {
        let log = fs::File::options().create(true).append(true).open(self.folder.join("log")).unwrap();
        let path = |name: &str| self.folder.join(name);
        let served = self.starts();
        let child = Command::new(env!("CARGO_BIN_EXE_a8s-csi-btrfs"))
            .arg("--state-dir")
            .arg(path("state"))
            .arg("--image-file")
            .arg(path("pool.img"))
            .args(["--size", "20Gi", "--node-name", "node-1"])
            .arg("--csi-socket")
            .arg(self.socket())
            .arg("--registration-dir")
            .arg(path("registry"))
            .arg("--kubelet-dir")
            .arg(self.kubelet())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        fs::write(path("pid"), child.id().to_string()).unwrap();
        self.child = Some(child);
        // The socket of a killed driver may still answer for a moment, from a program it was just starting.
        eventually("the driver serves", || {
            self.starts() > served && StdStream::connect(self.registry()).is_ok()
        });
    }

    /// How often a driver has come up here.
    fn starts(&self) -> usize {
        self.log().matches("serving").count()
    }

    /// Kills the driver as a crash would.
    pub fn kill(&mut self) {
        let mut child = self.child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    /// Stops the driver as an orderly shutdown does; it must succeed.
    pub fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        kill(Pid::from_raw(child.id().try_into().unwrap()), Signal::SIGTERM).unwrap();
        let status = child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    pub fn socket(&self) -> PathBuf {
        self.folder.join("csi.sock")
    }

    pub fn registry(&self) -> PathBuf {
        self.folder.join("registry/local.csi.a8s.dev-reg.sock")
    }

    pub fn kubelet(&self) -> PathBuf {
        let folder = self.folder.join("kubelet");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Names in a folder of the mounted pool.
    pub fn pool(&self, folder: &str) -> Vec<String> {
        names(&self.folder.join("state/mnt").join(folder))
    }

    /// Mounts of this rig.
    pub fn mounts(&self) -> Vec<PathBuf> {
        mounts_below(&self.folder)
    }

    /// Whether any loop device still holds the pool's image.
    pub fn has_loop(&self) -> bool {
        let image = self.folder.join("pool.img");
        names(Path::new("/sys/block")).iter().any(|name| {
            let file = fs::read_to_string(format!("/sys/block/{name}/loop/backing_file"));
            file.is_ok_and(|file| Path::new(file.trim_end()) == image)
        })
    }

    /// A client. It connects when it is first used.
    pub fn client(&self) -> Client {
        let socket = self.socket();
        let connector = tower::service_fn(move |_| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        });
        let channel = Endpoint::from_static("http://localhost").connect_with_connector_lazy(connector);
        Client {
            controller: ControllerClient::new(channel.clone()),
            node: NodeClient::new(channel),
            kubelet: self.kubelet(),
        }
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the driver's log:\n{}", self.log());
        }
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
        clean(&self.folder);
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let below = |mount: mounts::Mount| mount.point.starts_with(folder).then_some(mount.point);
    mounts::table().unwrap().into_iter().filter_map(below).collect()
}

fn clean(folder: &Path) {
    for point in mounts_below(folder).into_iter().rev() {
        let _ = umount2(&point, MntFlags::MNT_DETACH);
    }
    // A folder that still holds a mount must not be emptied.
    if mounts_below(folder).is_empty() {
        let _ = fs::remove_dir_all(folder);
    }
}

/// Removes what killed test runs left.
fn sweep() {
    let temporary = std::env::temp_dir().canonicalize().unwrap();
    for name in names(&temporary) {
        let Some(owner) = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()) else { continue };
        if Path::new("/proc").join(owner).exists() {
            continue;
        }
        let folder = temporary.join(&name);
        let pid = fs::read_to_string(folder.join("pid")).ok().and_then(|pid| pid.parse::<i32>().ok());
        if let Some(pid) = pid
            && fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| contains(&line, &folder))
        {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            eventually("an abandoned driver is gone", || {
                !fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| contains(&line, &folder))
            });
        }
        clean(&folder);
    }
}

fn contains(line: &[u8], folder: &Path) -> bool {
    String::from_utf8_lossy(line).contains(&*folder.to_string_lossy())
}

/// The calls of the tests, with the arguments that do not matter to them filled in.
#[derive(Clone)]
pub struct Client {
    pub controller: ControllerClient<Channel>,
    pub node: NodeClient<Channel>,
    kubelet: PathBuf,
}

impl Client {
    pub async fn volume(&mut self, name: &str, mib: i64) -> Result<Volume, Status> {
        self.volume_from(name, mib, None).await
    }

    pub async fn restore(&mut self, name: &str, mib: i64, snapshot: &str) -> Result<Volume, Status> {
        let source = SnapshotSource { snapshot_id: snapshot.to_owned() };
        self.volume_from(name, mib, Some(Content::Snapshot(source))).await
    }

    pub async fn clone_of(&mut self, name: &str, mib: i64, volume: &str) -> Result<Volume, Status> {
        let source = VolumeSource { volume_id: volume.to_owned() };
        self.volume_from(name, mib, Some(Content::Volume(source))).await
    }

    async fn volume_from(&mut self, name: &str, mib: i64, from: Option<Content>) -> Result<Volume, Status> {
        let request = CreateVolumeRequest {
            name: name.to_owned(),
            capacity_range: Some(CapacityRange { required_bytes: mib << 20, limit_bytes: 0 }),
            volume_capabilities: vec![capability()],
            volume_content_source: from.map(|from| VolumeContentSource { r#type: Some(from) }),
        };
        Ok(self.controller.create_volume(request).await?.into_inner().volume.unwrap())
    }

    pub async fn snapshot(&mut self, name: &str, volume: &str) -> Result<Snapshot, Status> {
        let request = CreateSnapshotRequest { name: name.to_owned(), source_volume_id: volume.to_owned() };
        Ok(self.controller.create_snapshot(request).await?.into_inner().snapshot.unwrap())
    }

    pub async fn delete_volume(&mut self, id: &str) -> Result<(), Status> {
        self.controller.delete_volume(DeleteVolumeRequest { volume_id: id.to_owned() }).await.map(drop)
    }

    pub async fn delete_snapshot(&mut self, id: &str) -> Result<(), Status> {
        self.controller.delete_snapshot(DeleteSnapshotRequest { snapshot_id: id.to_owned() }).await.map(drop)
    }

    /// Publishes a volume as the kubelet does for a pod, and returns where.
    pub async fn publish(&mut self, id: &str, readonly: bool) -> Result<PathBuf, Status> {
        let target = self.target(id);
        let request = NodePublishVolumeRequest {
            volume_id: id.to_owned(),
            target_path: target.display().to_string(),
            volume_capability: Some(capability()),
            readonly,
        };
        self.node.node_publish_volume(request).await.map(|_| target)
    }

    pub async fn unpublish(&mut self, id: &str) -> Result<(), Status> {
        let target_path = self.target(id).display().to_string();
        let request = NodeUnpublishVolumeRequest { volume_id: id.to_owned(), target_path };
        self.node.node_unpublish_volume(request).await.map(drop)
    }

    fn target(&self, id: &str) -> PathBuf {
        self.kubelet.join("pods").join(id).join("mount")
    }
}

fn capability() -> VolumeCapability {
    VolumeCapability {
        access_type: Some(AccessType::Mount(MountVolume::default())),
        access_mode: Some(AccessMode { mode: Mode::SingleNodeWriter.into() }),
    }
}
