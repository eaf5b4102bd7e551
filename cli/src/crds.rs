//! `weighbridge crds`: the manifests of the custom resources.
//!
//! Must never talk to a cluster; `kubectl` does.

use crate::{Ended, output};

/// Print the manifests of the custom resources
#[derive(clap::Args)]
#[command(after_help = "\
Example:
  weighbridge crds | kubectl apply --server-side -f -")]
pub(crate) struct Arguments {}

/// Prints the manifests.
///
/// # Errors
/// When standard output can't be written to.
pub(crate) fn run(_: &Arguments) -> anyhow::Result<Ended> {
    output::write(&weighbridge_crds::manifests_yaml())?;
    Ok(Ended::Well)
}
