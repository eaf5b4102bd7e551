//! What the demo plays on: fake providers, a folder of resources, and the words that introduce them.
//!
//! Must never need anything beyond loopback and a temporary folder.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use tempfile::TempDir;
use weighbridge_dataplane::Gateway;
use weighbridge_mock::{Config, Mock, Pace};
use weighbridge_snapshot::Redacted;

use crate::secrets::Search;

/// The resources; the providers' addresses stand in for those that are known at start.
const RESOURCES: &str = include_str!("gateway.yaml");
/// The fake providers' keys.
const SECRETS: &str = include_str!("secrets.yaml");

/// Slow enough to see a stream flow.
const PACE: Pace = Pace {
    first: Duration::from_millis(20),
    between: Duration::from_millis(40),
};

/// Fake providers and a folder of resources.
pub(super) struct Stage {
    openai: Mock,
    backup: Mock,
    folder: TempDir,
}

impl Stage {
    /// Starts the providers and writes the folder.
    pub(super) async fn build() -> anyhow::Result<Self> {
        let openai = provider(
            "openai",
            &["demo-openai-research", "demo-openai-production"],
        );
        let backup = provider("backup", &["demo-backup-main"]);
        let stage = Self {
            openai: Mock::start(openai).await?,
            backup: Mock::start(backup).await?,
            folder: tempfile::Builder::new()
                .prefix("weighbridge-demo-")
                .tempdir()
                .context("no temporary folder can be made")?,
        };
        let resources = RESOURCES
            .replace("http://openai.demo", &stage.openai.url())
            .replace("http://backup.demo", &stage.backup.url());
        for (name, text) in [
            ("gateway.yaml", resources.as_str()),
            ("secrets.yaml", SECRETS),
        ] {
            let file = stage.folder().join(name);
            std::fs::write(&file, text)
                .with_context(|| format!("{} can't be written", file.display()))?;
        }
        Ok(stage)
    }

    /// The folder of resources.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What is there, and what to try.
    pub(super) fn introduction(&self, gateway: &Gateway, token: &Redacted<String>) -> String {
        let address = format!("http://{}", gateway.listen_address());
        let openai = self.openai.url();
        let file = self.folder().join("gateway.yaml");
        let file = file.display();
        let token = token.expose();
        format!(
            "\
listening on {address}
admin on http://{admin}

  base URL  {address}/v1
  key       {token}
  model     demo
  files     {file} (edits apply at once)

Try, in another terminal:

1. A request. Of ten, seven are served by account research, three by production; a header says which.
   curl -si {address}/v1/chat/completions -H 'authorization: Bearer {token}' \\
     -H 'content-type: application/json' \\
     -d '{{\"model\": \"demo\", \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'

2. A stream.
   curl -sN {address}/v1/chat/completions -H 'authorization: Bearer {token}' \\
     -H 'content-type: application/json' \\
     -d '{{\"model\": \"demo\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"Hello\"}}]}}'

3. A failing provider: research is out of quota for 20 seconds, production breaks every connection.
   Repeat 1 and 2: they are answered, by backup, and only a header tells.
   curl -X PUT {openai}/_mock/faults -d '{{\"rules\": [
     {{\"when\": {{\"account\": \"research\"}}, \"fault\": {{\"status\": 429, \"retry-after\": 20}}}},
     {{\"when\": {{\"account\": \"production\"}}, \"fault\": {{\"cut\": \"before-head\"}}}}]}}'
   All well again: curl -X DELETE {openai}/_mock/faults

Ctrl-C ends the demo.
",
            admin = gateway.admin_address(),
        )
    }

    /// Stops the providers and removes the folder.
    pub(super) async fn clear(self) -> anyhow::Result<()> {
        self.openai.stop().await;
        self.backup.stop().await;
        let path = self.folder().display().to_string();
        let removed = self.folder.close();
        removed.with_context(|| format!("{path} can't be removed"))
    }
}

/// The token that was made for the demo's key.
pub(super) fn token(search: &Search) -> anyhow::Result<Redacted<String>> {
    let file = search.token_files.values().next();
    let file = file.context("the demo's key got no token")?;
    let token = std::fs::read_to_string(file)
        .with_context(|| format!("{} can't be read", file.display()))?;
    Ok(Redacted::new(token.trim_end().to_owned()))
}

fn provider(name: &str, keys: &[&str]) -> Config {
    Config {
        name: name.to_owned(),
        keys: keys.iter().map(|key| (*key).to_owned()).collect(),
        pace: PACE,
        ..Config::default()
    }
}
