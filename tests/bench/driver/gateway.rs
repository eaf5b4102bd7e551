//! The gateway under test: its resources, its snapshot, its command line. It must use nothing that a
//! user doesn't have: the two released binaries and YAML.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

use crate::process::{Launcher, free_address};
use crate::variant::Proxy;

/// The data plane's program, and what its column is called.
pub(crate) const PROGRAM: &str = "weighbridge-dataplane";
/// The virtual key's token; the floor and the upstream ignore it.
pub(crate) const TOKEN: &str = "wb-bench-0123456789abcdefghijklmnopqrstuvwxyz";

/// Writes the resources into `folder`, compiles them, and gives the snapshot's path.
///
/// # Errors
/// When `weighbridge check` isn't there or refuses something.
pub(crate) fn compile(
    launcher: &Launcher,
    folder: &Path,
    upstream: SocketAddr,
) -> anyhow::Result<PathBuf> {
    let resources = folder.join("resources");
    std::fs::create_dir_all(&resources)?;
    std::fs::write(resources.join("bench.yaml"), manifests(upstream))?;
    let snapshot = folder.join("snapshot");
    let mut command = Command::new(launcher.binaries.join("weighbridge"));
    command
        .arg("check")
        .arg("--snapshot")
        .arg(&snapshot)
        .arg(&resources);
    let output = command
        .output()
        .with_context(|| format!("cannot start {command:?}: is it built?"))?;
    if !output.status.success() {
        bail!(
            "{command:?} ended with {}:\n{}{}",
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(snapshot)
}

/// The data plane on one worker, as the floor is.
///
/// # Errors
/// When no port is free.
pub(crate) fn proxy(snapshot: &Path) -> anyhow::Result<Proxy> {
    let (address, admin) = (free_address()?, free_address()?);
    let arguments = [
        "--snapshot",
        &snapshot.to_string_lossy(),
        "--listen",
        &address.to_string(),
        "--admin",
        &admin.to_string(),
        "--workers",
        "1",
        "--drain-delay-seconds",
        "0",
    ];
    Ok(Proxy {
        name: PROGRAM,
        program: PROGRAM,
        address,
        arguments: arguments.map(str::to_owned).to_vec(),
    })
}

/// A Provider with two accounts at 70/30, a Route that renames the model, and a key with a given token.
fn manifests(upstream: SocketAddr) -> String {
    format!(
        r"apiVersion: v1
kind: Secret
metadata: {{name: bench-accounts}}
stringData: {{large: sk-bench-large, small: sk-bench-small}}
---
apiVersion: v1
kind: Secret
metadata:
  name: bench-key
  labels: {{weighbridge.dev/virtual-key: bench}}
stringData: {{token: {TOKEN}}}
---
apiVersion: weighbridge.dev/v1alpha1
kind: Provider
metadata: {{name: bench}}
spec:
  dialect: OpenAI
  endpoint: http://{upstream}/v1
  accounts:
  - {{name: large, secretRef: {{name: bench-accounts, key: large}}, weight: 70}}
  - {{name: small, secretRef: {{name: bench-accounts, key: small}}, weight: 30}}
---
apiVersion: weighbridge.dev/v1alpha1
kind: Route
metadata: {{name: chat}}
spec:
  models: [chat]
  targets:
  - name: only
    backends:
    - {{name: bench, providerRef: {{name: bench}}, model: gpt-5-mini}}
---
apiVersion: weighbridge.dev/v1alpha1
kind: VirtualKey
metadata: {{name: bench}}
spec:
  routeRefs:
  - {{namespace: default, name: chat}}
  secretName: bench-key
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize as _;
    use serde_yaml::Value;

    #[test]
    fn the_manifests_are_yaml_and_hold_each_kind() {
        let text = manifests("127.0.0.1:9000".parse().unwrap());
        let kinds: Vec<String> = serde_yaml::Deserializer::from_str(&text)
            .map(|document| Value::deserialize(document).unwrap()["kind"].clone())
            .map(|kind| kind.as_str().unwrap().to_owned())
            .collect();
        assert_eq!(
            kinds,
            ["Secret", "Secret", "Provider", "Route", "VirtualKey"]
        );
        assert!(text.contains("endpoint: http://127.0.0.1:9000/v1"));
    }
}
