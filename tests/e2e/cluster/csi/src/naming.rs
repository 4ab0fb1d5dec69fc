//! Identifiers of volumes and snapshots.
//!
//! An id is derived from the name the orchestrator chose, so creating twice under one name meets the same id without
//! any index that could be lost. Ids become folder names, therefore anything from outside is parsed before use.

use std::fmt;

use sha2::{Digest, Sha256};

/// What an id stands for; it decides the prefix and the folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A writable subvolume.
    Volume,
    /// A read-only snapshot of one.
    Snapshot,
}

impl Kind {
    /// The folder below the pool's root that holds the subvolumes of this kind.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Volume => "volumes",
            Self::Snapshot => "snapshots",
        }
    }

    fn prefix(self) -> &'static str {
        match self {
            Self::Volume => "vol-",
            Self::Snapshot => "snap-",
        }
    }
}

/// Hexadecimal digits of an id: 128 bits, so two names never meet.
const DIGITS: usize = 32;

/// A well-formed id. It is safe as a file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id(String);

impl Id {
    /// The id that belongs to `name`.
    pub fn of_name(kind: Kind, name: &str) -> Self {
        let digest = hex::encode(Sha256::digest(name.as_bytes()));
        Self(format!("{}{}", kind.prefix(), &digest[..DIGITS]))
    }

    /// Reads an id from a request or a folder name; `None` if this driver cannot have made it.
    pub fn parse(kind: Kind, text: &str) -> Option<Self> {
        let digits = text.strip_prefix(kind.prefix())?;
        let hexadecimal = digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        (digits.len() == DIGITS && hexadecimal).then(|| Self(text.to_owned()))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_always_gives_one_id_and_two_names_give_two() {
        let first = Id::of_name(Kind::Volume, "pvc-1");
        assert_eq!(first, Id::of_name(Kind::Volume, "pvc-1"));
        assert_ne!(first, Id::of_name(Kind::Volume, "pvc-2"));
        assert_ne!(first.as_str(), Id::of_name(Kind::Snapshot, "pvc-1").as_str());
    }

    #[test]
    fn an_id_made_from_any_name_parses_back() {
        for name in ["", "pvc-1", "../../etc", "a name with spaces / and ünïcode"] {
            for kind in [Kind::Volume, Kind::Snapshot] {
                let id = Id::of_name(kind, name);
                assert_eq!(Id::parse(kind, id.as_str()), Some(id));
            }
        }
    }

    #[test]
    fn nothing_that_could_leave_the_folder_is_an_id() {
        let good = Id::of_name(Kind::Volume, "x");
        for text in ["", "vol-", "../x", "vol-../../etc/passwd", &good.as_str()[..20], &format!("{good}/a")] {
            assert_eq!(Id::parse(Kind::Volume, text), None, "{text}");
        }
        assert_eq!(Id::parse(Kind::Volume, &good.as_str().to_uppercase()), None);
        assert_eq!(Id::parse(Kind::Snapshot, good.as_str()), None, "a volume is not a snapshot");
    }
}
