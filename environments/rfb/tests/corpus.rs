//! What the fuzz targets check, for all that is in their corpus.

// clippy.toml allows this in test functions; these are their helpers.
#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used)]

#[path = "../fuzz/checks.rs"]
#[allow(dead_code, reason = "the tests share it, and each needs a part")]
mod checks;

use std::path::{Path, PathBuf};

fn corpus(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(of)
}

fn replay(of: &str, check: fn(&[u8])) -> usize {
    let files = std::fs::read_dir(corpus(of)).unwrap().map(|entry| entry.unwrap().path());
    files
        .map(|file| {
            // So that a failure names its file.
            println!("{}", file.display());
            check(&std::fs::read(&file).unwrap());
        })
        .count()
}

#[test]
fn nothing_in_the_corpus_of_clients_gets_a_forbidden_message_through() {
    assert!(replay("client", checks::client) >= checks::seeds().len());
}

#[test]
fn nothing_in_the_corpus_of_servers_upsets_the_decoder() {
    assert!(replay("server", checks::server) >= 3);
}

/// Every message in both roles, by the name of its file.
fn seeds() -> impl Iterator<Item = (PathBuf, Vec<u8>)> {
    checks::seeds().into_iter().flat_map(|(name, bytes)| {
        [("viewer", 0x16), ("controller", 0x17)].map(|(role, choice)| {
            (corpus("client").join(format!("{name}-{role}")), [&[choice, 0x35], bytes.as_slice()].concat())
        })
    })
}

#[test]
fn the_corpus_holds_every_message_in_both_roles() {
    for (file, seed) in seeds() {
        let there = std::fs::read(&file).unwrap_or_default();
        assert!(there == seed, "{} is out of date; run the ignored test beside this one", file.display());
    }
}

#[test]
#[ignore = "writes into the repository"]
fn the_corpus_is_written() {
    for (file, seed) in seeds() {
        std::fs::write(file, seed).unwrap();
    }
}
