//! Names of everything that a8s makes. They are functions of the owner alone, so that doing a step twice names the same object.

use sha2::{Digest, Sha256};

use crate::Trigger;

/// Longest name of a Session or Workspace; leaves room for the suffixes below within a DNS label (63).
pub const MAX_NAME: usize = 48;

/// The claim that holds `home` and `state`. One that takes the place of an earlier one has another name: it may have to be made while
/// that is still going.
pub fn claim(workspace: &str, generation: i64) -> String {
    if generation <= 1 { format!("{workspace}-home") } else { format!("{workspace}-home-{generation}") }
}

/// The pod of a Workspace. There is one name, hence at most one pod.
pub fn pod(workspace: &str) -> String {
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

/// The Secret with what the Workspace was granted.
pub fn grants_secret(workspace: &str) -> String {
    format!("{workspace}-grants")
}

/// The Role, and the RoleBinding, that a Share is in RBAC.
pub fn share_access(share: &str) -> String {
    format!("a8s-share-{share}")
}

/// The Request that records a question of the agent, by the event that asked it.
pub fn request(session: &str, epoch: i64, seq: i64) -> String {
    format!("{session}-{epoch}-{seq}")
}

/// What the chat agent says about something that was said or decided; `key` is the UID of that, or another name that it has.
pub fn chat_answer(session: &str, uid: &str, key: &str) -> String {
    format!("{session}-chat-{}", short_hash(&format!("{uid}/{key}")))
}

/// The Request that asks whether what was said up to `key` may be handed over.
pub fn handoff(session: &str, uid: &str, key: &str) -> String {
    format!("{session}-handoff-{}", short_hash(&format!("{uid}/{key}")))
}

/// The VolumeSnapshot behind a Snapshot; it carries a piece of the UID so that a Snapshot of the same name, made later, gets another.
pub fn volume_snapshot(snapshot: &str, uid: &str) -> String {
    bounded(&format!("{snapshot}-{}", short_hash(uid)), 63)
}

/// A Snapshot that nobody asked for by name: `work-turn-0-3-1f2e3d4c`. `key` says which one of its trigger it is; the UID keeps the
/// Snapshots of two Workspaces of one name, one after the other, apart.
pub fn automatic_snapshot(workspace: &str, uid: &str, trigger: Trigger, key: &str) -> String {
    let tail = short_hash(&format!("{uid}/{trigger:?}/{key}"));
    let trigger = format!("{trigger:?}").to_lowercase();
    let head: String = format!("{workspace}-{trigger}-{}", slug(key)).chars().take(54).collect();
    format!("{}-{tail}", head.trim_end_matches('-'))
}

/// The Workspace of a Session; another one if that name is taken by somebody else's Workspace.
pub fn workspace(session: &str, uid: &str, taken: bool) -> String {
    if taken { bounded(&format!("{session}-{}", short_hash(uid)), MAX_NAME) } else { session.to_owned() }
}

/// The desktop of a WarmPool with this number. It is a function of pool and number, so that making one twice names the same object.
pub fn pool_member(pool: &str, uid: &str, ordinal: u64) -> String {
    // No vowels: nothing rude comes out.
    const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let digest = Sha256::digest(format!("{uid}/{ordinal}").as_bytes());
    let tail: String =
        digest[..7].iter().map(|b| char::from(LETTERS[usize::from(*b) % LETTERS.len()])).collect();
    let head: String = pool.chars().take(MAX_NAME - 8).collect();
    format!("{}-{tail}", head.trim_end_matches('-'))
}

/// The golden Snapshot of a WarmPool for what its desktops are made from.
pub fn golden_snapshot(pool: &str, uid: &str, template: &str) -> String {
    bounded(&format!("{pool}-golden-{}", short_hash(&format!("{uid}/{template}"))), 63)
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
            claim(&long, 1),
            claim(&long, 99_999_999),
            pod(&long),
            tls_secret(&long),
            volume_snapshot(&"s".repeat(63), "uid"),
            workspace(&long, "uid", true),
            pool_member(&long, "uid", u64::MAX),
            golden_snapshot(&long, "uid", "template"),
            automatic_snapshot(&long, "uid", Trigger::Safety, "Vor dem Abgeben, bitte aufbewahren"),
            automatic_snapshot("w", "uid", Trigger::Turn, "0-3"),
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
    fn automatic_snapshots_of_other_workspaces_triggers_and_keys_have_other_names() {
        let name = |uid, trigger, key| automatic_snapshot("w", uid, trigger, key);
        assert!(name("u", Trigger::Turn, "0-3").starts_with("w-turn-0-3-"));
        let all = [
            name("u", Trigger::Turn, "0-3"),
            name("v", Trigger::Turn, "0-3"),
            name("u", Trigger::Safety, "0-3"),
            name("u", Trigger::Safety, "0.3"),
            name("u", Trigger::Safety, &"k".repeat(63)),
            name("u", Trigger::Safety, &"k".repeat(62)),
        ];
        assert_eq!(all.iter().collect::<std::collections::BTreeSet<_>>().len(), all.len(), "{all:?}");
    }

    #[test]
    fn desktops_of_a_pool_fit_a_workspace_and_differ_by_number_and_pool() {
        let all: std::collections::BTreeSet<_> =
            (0..2_000).map(|n| pool_member(&"p".repeat(40), "u", n)).collect();
        assert_eq!(all.len(), 2_000);
        assert!(all.iter().all(|name| name.len() <= MAX_NAME));
        assert_ne!(pool_member("p", "u", 1), pool_member("p", "v", 1));
    }

    #[test]
    fn a_slug_is_never_empty() {
        assert_eq!(slug("Seattle: Rain & Sun.pdf"), "seattle-rain-sun-pdf");
        assert_eq!(slug("日本"), "x");
    }
}
