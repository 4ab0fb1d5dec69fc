//! Writes everything that is derived from the API types, or with `--check` says what is out of date.

use std::path::PathBuf;

use clap::Parser;

/// Writes everything that is derived from the API types.
#[derive(Parser)]
#[command(name = "a8s-gen", version)]
struct Options {
    /// Change nothing; fail when a file is not what it should be.
    #[arg(long)]
    check: bool,
    /// The repository.
    #[arg(long, default_value_os_t = a8s_gen::repository())]
    repository: PathBuf,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let drift = a8s_gen::drift(&options.repository)?;
    if options.check {
        anyhow::ensure!(drift.is_empty(), "out of date, run `make gen`:\n{}", drift.join("\n"));
        return Ok(());
    }
    a8s_gen::write(&options.repository)?;
    for file in drift {
        println!("{file}");
    }
    Ok(())
}
