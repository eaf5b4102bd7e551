//! Folders of resources for the tests.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

/// A folder of resources that is removed at the end.
pub(crate) struct Folder(pub(crate) TempDir);

impl Folder {
    pub(crate) fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Writes a file as editors do: a new one takes the place of the old.
    pub(crate) fn replace(&self, name: &str, text: &str) {
        let draft = self.path(&format!(".{name}.draft"));
        fs::write(&draft, text).unwrap();
        fs::rename(draft, self.path(name)).unwrap();
    }
}

/// A Provider `p` at a fake provider, with one account whose credential is `k` of Secret `p`.
pub(crate) fn provider(address: SocketAddr, account: &str) -> String {
    format!(
        "apiVersion: weighbridge.dev/v1alpha1
kind: Provider
metadata: {{name: p}}
spec:
  dialect: OpenAI
  endpoint: http://{address}/v1
  accounts: [{{name: {account}, secretRef: {{name: p, key: k}}}}]
"
    )
}

/// A Route `r` from `model` to Provider `p`.
pub(crate) fn route(model: &str) -> String {
    format!(
        "apiVersion: weighbridge.dev/v1alpha1
kind: Route
metadata: {{name: r}}
spec:
  models: [{model}]
  targets: [{{name: t, backends: [{{name: b, providerRef: {{name: p}}, model: upstream}}]}}]
"
    )
}

/// A VirtualKey `v` for every Route, with its token in Secret `v`.
pub(crate) const KEY: &str = "apiVersion: weighbridge.dev/v1alpha1
kind: VirtualKey
metadata: {name: v}
spec: {routeRefs: [{namespace: default, name: \"*\"}], secretName: v}
";
