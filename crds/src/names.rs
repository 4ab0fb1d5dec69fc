//! Names of everything that a8s makes. They are functions of the owner alone, so that doing a step twice names the same object.

use sha2::{Digest, Sha256};

/// Longest name of a Session or Workspace; leaves room for the suffixes below within a DNS label (63).
pub const MAX_NAME: usize = 48;

/// The claim that holds `home` and `state`.
pub fn claim(workspace: &str) -> String {
    format!("{workspace}-home")
}

/// The pod of a Workspace. There is one name, hence at most one pod.
pub fn pod(workspace: &str) -> String {
    format!("{workspace}-desktop")
}

/// The Service in front of the pod: deskd and runner.
pub fn service(workspace: &str) -> String {
    format!("{workspace}-desktop")
}

/// The NetworkPolicy of the pod.
pub fn network_policy(workspace: &str) -> String {
    format!("{workspace}-desktop")
}

/// The Secret with serving certificate and token key of the pod.
pub fn tls_secret(workspace: &str) -> String {
    format!("{workspace}-tls")
}

/// The VolumeSnapshot behind a Snapshot; it carries a piece of the UID so that a Snapshot of the same name, made later, gets another.
pub fn volume_snapshot(snapshot: &str, uid: &str) -> String {
    bounded(&format!("{snapshot}-{}", short_hash(uid)), 63)
}

/// The Workspace of a Session; another one if that name is taken by somebody else's Workspace.
pub fn workspace(session: &str, uid: &str, taken: bool) -> String {
    if taken { bounded(&format!("{session}-{}", short_hash(uid)), MAX_NAME) } else { session.to_owned() }
}

/// The Message that records an event of the conversation.
pub fn message(session: &str, epoch: i64, seq: i64) -> String {
    format!("{session}-{epoch}-{seq}")
}

/// The Artifact of a published file. `origin` keeps two Sessions of one name, one after the other, and two desktops of one Session
/// apart, only if the plain name is taken.
pub fn artifact(session: &str, name: &str, version: i64, origin: &str, taken: bool) -> String {
    let suffix = if taken { format!("-{}", short_hash(origin)) } else { String::new() };
    let tail = format!("-v{version}{suffix}");
    format!("{}{tail}", bounded(&format!("{session}-{}", slug(name)), 63 - tail.len()))
}

/// DNS name under which the control plane reaches the pod.
pub fn service_host(workspace: &str, namespace: &str) -> String {
    format!("{}.{namespace}.svc", service(workspace))
}

/// Lower-case letters, digits and single dashes; never empty.
pub fn slug(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            out.push(c.to_ascii_lowercase());
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
    }
    let out = out.trim_end_matches('-');
    if out.is_empty() { "x".to_owned() } else { out.to_owned() }
}

/// Eight hex digits of the SHA-256 of `text`.
pub fn short_hash(text: &str) -> String {
    hex::encode(&Sha256::digest(text.as_bytes())[..4])
}

fn bounded(text: &str, max: usize) -> String {
    if text.len() <= max {
        return text.to_owned();
    }
    let keep: String = text.chars().take(max - 9).collect();
    format!("{}-{}", keep.trim_end_matches('-'), short_hash(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_made_from_a_longest_name_is_a_dns_label() {
        let long = "a".repeat(MAX_NAME);
        let names = [
            claim(&long),
            pod(&long),
            tls_secret(&long),
            volume_snapshot(&"s".repeat(63), "uid"),
            workspace(&long, "uid", true),
            artifact(&long, "Ein sehr langer Titel, mit Umlauten äöü!", 12, "uid", true),
        ];
        for name in names {
            assert!(name.len() <= 63, "{name}");
            assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-'), "{name}");
            assert!(!name.ends_with('-'), "{name}");
        }
    }

    #[test]
    fn shortening_keeps_different_names_different() {
        let base = "x".repeat(80);
        assert_ne!(volume_snapshot(&format!("{base}1"), "u"), volume_snapshot(&format!("{base}2"), "u"));
    }

    #[test]
    fn a_slug_is_never_empty() {
        assert_eq!(slug("Seattle: Rain & Sun.pdf"), "seattle-rain-sun-pdf");
        assert_eq!(slug("日本"), "x");
    }
}
