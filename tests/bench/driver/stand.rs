//! The stand that the variants are measured on: the upstream, and what is needed to put each proxy before
//! it. It must never know what is measured.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context as _;

use crate::process::{self, CoreLists, Launcher, Process, Role};
use crate::settings::{Part, Settings};
use crate::variant::{Loader, Proxy, Variant};
use crate::{environment, gateway};

const DIRECT: &str = "direct";
const FLOOR: &str = "floor";

/// A running upstream and the way to everything else.
#[derive(Debug)]
pub(crate) struct Stand {
    /// Runs the load.
    pub(crate) loader: Loader,
    /// Where the upstream answers.
    pub(crate) address: SocketAddr,
    /// The gateway's compiled configuration; none when it is left out.
    snapshot: Option<PathBuf>,
    /// Held for its guard.
    _upstream: Process,
}

impl Stand {
    /// Starts the upstream, and compiles the gateway's configuration for it. Output goes to `folder`.
    ///
    /// # Errors
    /// When a program isn't built, or doesn't answer.
    pub(crate) async fn start(settings: &Settings, folder: &Path) -> anyhow::Result<Self> {
        let loader = loader(settings, folder)?;
        let address = process::free_address()?;
        let mut command = loader.launcher.command("bench-upstream", Role::Other);
        command.args(["--listen", &address.to_string()]);
        let upstream = Process::start(&mut command, "upstream", folder)?;
        loader.await_answer(&mut direct(address)).await?;
        let snapshot = if settings.skips(Part::Gateway) {
            None
        } else {
            Some(gateway::compile(&loader.launcher, folder, address)?)
        };
        Ok(Self {
            loader,
            address,
            snapshot,
            _upstream: upstream,
        })
    }

    /// The variants' names, in the order of every list over variants.
    pub(crate) fn names(&self) -> Vec<&'static str> {
        let gateway = self.snapshot.as_ref().map(|_| gateway::PROGRAM);
        [DIRECT, FLOOR].into_iter().chain(gateway).collect()
    }

    /// The proxies, none of them started, each at an address of its own.
    ///
    /// # Errors
    /// When no port is free.
    pub(crate) fn proxies(&self) -> anyhow::Result<Vec<Proxy>> {
        let address = process::free_address()?;
        let mut proxies = vec![Proxy {
            name: FLOOR,
            program: "bench-floor",
            address,
            arguments: [
                "--listen",
                &address.to_string(),
                "--upstream",
                &self.address.to_string(),
            ]
            .map(str::to_owned)
            .to_vec(),
        }];
        if let Some(snapshot) = &self.snapshot {
            proxies.push(gateway::proxy(snapshot)?);
        }
        Ok(proxies)
    }

    /// All variants, running and answering.
    ///
    /// # Errors
    /// When a proxy ends or doesn't answer.
    pub(crate) async fn start_variants(&self) -> anyhow::Result<Vec<Variant>> {
        let mut variants = vec![direct(self.address)];
        for proxy in self.proxies()? {
            let mut command = self.loader.launcher.command(proxy.program, Role::Proxy);
            command.args(&proxy.arguments);
            let mut variant = proxy.start(&mut command, &self.loader.folder)?;
            self.loader.await_answer(&mut variant).await?;
            variants.push(variant);
        }
        Ok(variants)
    }
}

fn direct(address: SocketAddr) -> Variant {
    Variant {
        name: DIRECT,
        address,
        proxy: None,
    }
}

/// The programs lie beside this one: one build, one profile.
fn loader(settings: &Settings, folder: &Path) -> anyhow::Result<Loader> {
    let executable = std::env::current_exe()?;
    let binaries = executable.parent().context("a program lies in a folder")?;
    let cores = settings
        .pin
        .then(|| CoreLists::split(environment::cores()))
        .transpose()?;
    Ok(Loader {
        launcher: Launcher {
            binaries: binaries.to_owned(),
            cores,
        },
        folder: folder.to_owned(),
    })
}
