//! Files that several components need: kubeconfigs, and writing a configuration with its hash.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::certs::{Authority, Subject, write_private};

/// Who a kubeconfig logs in as.
pub struct Login<'a> {
    /// URL of the API server.
    pub server: &'a str,
    /// File name of the certificate.
    pub file: &'a str,
    /// User and group.
    pub subject: Subject,
    /// Name of cluster, user and context in the file.
    pub context: &'a str,
}

/// Writes a kubeconfig with its own client certificate inside. JSON is YAML.
pub fn kubeconfig(authority: &Authority, login: &Login<'_>, path: &Path) -> Result<()> {
    let pair = authority.issue(login.file, &login.subject)?;
    let inline = |file: &Path| -> Result<String> {
        let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
        Ok(BASE64_STANDARD.encode(bytes))
    };
    let context = login.context;
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": context, "cluster": {
            "server": login.server, "certificate-authority-data": inline(&authority.ca().cert)?}}],
        "users": [{"name": context, "user": {
            "client-certificate-data": inline(&pair.cert)?, "client-key-data": inline(&pair.key)?}}],
        "contexts": [{"name": context, "context": {"cluster": context, "user": context}}],
        "current-context": context,
    });
    write_private(path, &format!("{config:#}\n"))
}

/// Writes a configuration file and returns a hash of its text.
pub fn config(path: &Path, text: &str) -> Result<String> {
    write_private(path, text)?;
    Ok(stamp(text.as_bytes()))
}

/// A short hash of some bytes.
pub fn stamp(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))[..12].to_owned()
}
