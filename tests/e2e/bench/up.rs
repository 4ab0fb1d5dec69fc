//! How long `make up` takes with everything built.

use std::time::Instant;

use a8s_cluster::{Cluster, Options};
use anyhow::Result;

use crate::{
    objects::millis,
    table::{Report, Row},
};

/// The first start builds what is missing; the second, from nothing but built things, is the one that is measured.
pub fn measure(name: &str, options: &Options, report: &mut Report) -> Result<()> {
    let options = Options { measured: false, ..options.clone() };
    Cluster::up(name, &options)?.down()?;
    let begun = Instant::now();
    let cluster = Cluster::up(name, &options)?;
    report.row(Row::new("`make up` with everything built", millis(begun) / 1000.0, "s").target(60.0));
    cluster.down()
}
