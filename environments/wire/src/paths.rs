//! Well-known places in a workspace pod. `ARCHITECTURE.md` shows which container mounts which of them.

/// Home directory of the person and the agent; sub-path `home` of the workspace volume.
pub const HOME: &str = "/home/agent";
/// Where attachments are put, below [`HOME`].
pub const ATTACHMENTS: &str = "/home/agent/Attachments";
/// The runner's own directory: transcript and blobs; sub-path `state` of the workspace volume.
pub const STATE: &str = "/state";
/// Unix socket of deskd's MCP server; visible to the desktop and runner containers only.
pub const DESKD_SOCKET: &str = "/run/a8s/desk/deskd.sock";
/// Unix socket on which deskd records the desktop for the runner: beside its MCP server, and open to the same.
pub fn recorder(deskd_socket: &std::path::Path) -> std::path::PathBuf {
    deskd_socket.with_file_name("recorder.sock")
}
/// What deskd repaired in the home before anything ran in it, one path below [`HOME`] a line; the runner leaves these out when it compares
/// a restored home.
pub const REPAIRED: &str = "/run/a8s/desk/repaired";
/// Where `/etc/machine-id` of an image leads: a place that is writable in the desktop's and in the agent's container.
pub const MACHINE_ID: &str = "/tmp/.a8s-machine-id";
/// Unix socket of the runner's own commands, below [`STATE`].
pub const CONTROL_SOCKET: &str = "control.sock";
/// Unix socket on which the shim offers the harness's standard input and output.
pub const AGENT_SOCKET: &str = "/run/a8s/acp/agent.sock";
/// Unix socket of the runner's aggregated MCP server.
pub const MCP_SOCKET: &str = "/run/a8s/acp/mcp.sock";
/// Directory with `tls.crt`, `tls.key`, `ca.crt` and `tokens.pub`.
pub const TLS: &str = "/etc/a8s/tls";
/// HTTPS port of deskd.
pub const DESKD_PORT: u16 = 8443;
/// What the Workspace was granted: the mounted Secret, in the runner's container only.
pub const GRANTS: &str = "/etc/a8s/grants/grants.json";
/// Secrets that the agent itself may see, one file each, in memory.
pub const SECRETS: &str = "/run/a8s/acp/secrets";
/// Port of the runner's credential gateway, on the pod's loopback interface only.
pub const GATEWAY_PORT: u16 = 8446;
/// HTTPS port of the runner.
pub const RUNNER_PORT: u16 = 8444;

/// Environment variables that the pod's three containers receive.
pub mod env {
    /// UID of the Workspace object.
    pub const WORKSPACE_UID: &str = "A8S_WORKSPACE_UID";
    /// Name of the Workspace object.
    pub const WORKSPACE: &str = "A8S_WORKSPACE";
    /// Namespace of the Workspace object.
    pub const NAMESPACE: &str = "A8S_NAMESPACE";
    /// Name of the Session that owns the Workspace; empty if none does.
    pub const SESSION: &str = "A8S_SESSION";
    /// Width and height of the desktop in pixels, `1280x800`.
    pub const GEOMETRY: &str = "A8S_DESKTOP_GEOMETRY";
    /// Which way text may go between the desktop's clipboard and those of people: `Both`, `In`, `Out` or `None`. The desktop's container
    /// only; absent: `Both`.
    pub const CLIPBOARD: &str = "A8S_DESKTOP_CLIPBOARD";
    /// Conversation epoch, decimal; it grows by one with every restore.
    pub const EPOCH: &str = "A8S_EPOCH";
    /// Name of the Snapshot, or of the Workspace, that the volume was made from; absent or empty if it began empty. The runner then compares
    /// the volume with the list of files on it. It stays set for the life of the volume: the runner compares once.
    pub const RESTORED_FROM: &str = "A8S_RESTORED_FROM";
}

/// Environment variables that the runner gives to a harness when it starts it.
pub mod harness_env {
    /// Base URL of the credential gateway; `/connections/<name>/…` below it leads to what was granted.
    pub const GATEWAY: &str = "A8S_GATEWAY_URL";
    /// What the gateway wants as `Authorization: Bearer` or `x-api-key`. It opens nothing but the gateway of this pod, and only until the
    /// runner ends.
    pub const GATEWAY_TOKEN: &str = "A8S_GATEWAY_TOKEN";
    /// `anthropic`, `openai` or `openai-compatible`; absent if the Session has no model.
    pub const MODEL_PROVIDER: &str = "A8S_MODEL_PROVIDER";
    /// The model's name as the provider knows it.
    pub const MODEL: &str = "A8S_MODEL";
    /// Base URL of the model: the gateway's for its Connection.
    pub const MODEL_URL: &str = "A8S_MODEL_URL";
    /// What goes with it as the key: the gateway's token.
    pub const MODEL_KEY: &str = "A8S_MODEL_KEY";
    /// Standing instructions, for the built-in agent. Another harness is told them with its first message.
    pub const INSTRUCTIONS: &str = "A8S_INSTRUCTIONS";
    /// Names of the tools that the agent was granted, with commas between them, without those of MCP servers; for the built-in agent, which has
    /// a `shell` of its own. Absent: it has that.
    pub const TOOLS: &str = "A8S_TOOLS";
    /// What is to be reached, word for word, for the built-in agent: it keeps it when it forgets the rest.
    pub const REQUIREMENT: &str = "A8S_REQUIREMENT";
}

/// Identity of the machine that a Workspace is, in the form of systemd's `machine-id`: 32 lower-case hexadecimal digits and a newline.
pub fn machine_id(workspace_uid: &str) -> String {
    let digits =
        workspace_uid.chars().filter(char::is_ascii_hexdigit).map(|digit| digit.to_ascii_lowercase());
    let digits: String = digits.chain(std::iter::repeat('0')).take(32).collect();
    format!("{digits}\n")
}

/// The DNS name in the serving certificate of a workspace pod, which clients verify.
pub fn server_name(workspace_uid: &str) -> String {
    format!("{workspace_uid}.workspace.a8s.internal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_known_by_its_workspace() {
        let id = machine_id("1B4E28BA-2fa1-11d2-883f-0016d3cca427");
        assert_eq!(id, "1b4e28ba2fa111d2883f0016d3cca427\n");
        assert_eq!(machine_id("").len(), 33);
    }
}
