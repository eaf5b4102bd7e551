//! `docs/operations.md` against a running data plane: every metric with its type and labels, every flag with
//! its default.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use clap::Args as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use weighbridge_dataplane::{Gateway, Settings};

use crate::markdown::{code, document_at};
use crate::resources::compiled;

const DOCUMENT: &str = "docs/operations.md";

/// A Provider, a Route and a key, so that every metric has a line.
const RESOURCES: &str = r"
apiVersion: weighbridge.dev/v1alpha1
kind: Provider
metadata: {name: p}
spec: {dialect: OpenAI, endpoint: 'http://127.0.0.1:1/v1'}
---
apiVersion: weighbridge.dev/v1alpha1
kind: Route
metadata: {name: r}
spec:
  models: [m]
  targets: [{name: t, backends: [{name: b, providerRef: {name: p}}]}]
";

/// A metric's type and the names of its labels.
#[derive(Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
}

async fn scraped() -> String {
    let anywhere: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let settings = Settings {
        listen: anywhere,
        admin: anywhere,
        workers: std::num::NonZeroUsize::new(1),
        ..Settings::default()
    };
    let snapshot = compiled(RESOURCES).unwrap().snapshot;
    let gateway = Gateway::start(&settings, &snapshot).await.unwrap();
    let mut stream = TcpStream::connect(gateway.admin_address()).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

/// What a scrape shows, by name as it stands in the document: counters with their `_total`.
fn shown(scrape: &str) -> BTreeMap<String, Metric> {
    let mut metrics = BTreeMap::new();
    for line in scrape.lines() {
        let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        else {
            continue;
        };
        let suffix = match kind {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        let samples = scrape.lines().filter(|line| line.starts_with(name));
        let metric = Metric {
            kind: kind.to_owned(),
            labels: samples.flat_map(labels).collect(),
        };
        metrics.insert(format!("{name}{suffix}"), metric);
    }
    metrics
}

/// The names of a sample's labels, a bucket's bound left out.
fn labels(sample: &str) -> Vec<String> {
    let inside = sample
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    let pairs = inside.map_or("", |(inside, _)| inside).split(',');
    let names = pairs.filter_map(|pair| pair.split_once('='));
    names
        .map(|(name, _)| name.to_owned())
        .filter(|name| name != "le")
        .collect()
}

fn listed() -> BTreeMap<String, Metric> {
    let rows = document_at(DOCUMENT).rows_under("Metrics");
    let rows = rows.iter().map(|cells| {
        let [name, kind, labels, ..] = cells.as_slice() else {
            panic!("{cells:?}");
        };
        let metric = Metric {
            kind: kind.clone(),
            labels: code(labels).into_iter().collect(),
        };
        (code(name).concat(), metric)
    });
    rows.collect()
}

#[tokio::test]
async fn the_list_of_metrics_is_what_the_admin_port_shows() {
    let shown = shown(&scraped().await);
    assert!(shown.len() > 10, "{shown:?}");
    assert_eq!(listed(), shown);
}

#[tokio::test]
async fn every_value_of_a_fixed_label_is_explained() {
    let scrape = scraped().await;
    let explained: BTreeSet<String> = document_at(DOCUMENT)
        .prose
        .iter()
        .flat_map(|line| code(line))
        .collect();
    let fixed = ["outcome", "gen_ai_operation_name", "gen_ai_token_type"];
    let mut values = BTreeSet::new();
    for line in scrape.lines().filter(|line| !line.starts_with('#')) {
        for label in fixed {
            let rest = line.split_once(&format!("{label}=\""));
            let value = rest.and_then(|(_, rest)| rest.split_once('"'));
            values.extend(value.map(|(value, _)| value.to_owned()));
        }
    }
    assert!(values.len() > 10, "{values:?}");
    let missing: Vec<_> = values.difference(&explained).collect();
    assert!(missing.is_empty(), "{missing:?}");
}

#[test]
fn the_list_of_flags_is_what_a_data_plane_takes_with_its_defaults() {
    let command = Settings::augment_args(clap::Command::new("weighbridge"));
    let taken: BTreeMap<String, String> = command
        .get_arguments()
        .map(|flag| {
            let defaults = flag.get_default_values().iter();
            let default: Vec<_> = defaults.map(|value| value.to_string_lossy()).collect();
            (format!("--{}", flag.get_long().unwrap()), default.concat())
        })
        .collect();
    let rows = document_at(DOCUMENT).rows_under("Flags");
    let listed: BTreeMap<String, String> = rows
        .iter()
        .map(|cells| {
            let default = code(&cells[1]).concat();
            (code(&cells[0]).concat(), default)
        })
        .collect();
    assert_eq!(listed, taken);
}
