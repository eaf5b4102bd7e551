//! The text of `/metrics`: the cells of the objects in force, summed over workers, in the OpenMetrics
//! format. Must never take a lock that a request takes.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use weighbridge_snapshot::Operation;

use super::{AttemptOutcome, Outcome, REFUSALS};
use crate::cells::{Distribution, SECONDS, TOKENS, distribution};
use crate::health::Eligibility;
use crate::logging;
use crate::runtime::{Account, Provider, Runtime};
use crate::shared::Shared;

/// The whole text.
///
/// # Errors
/// Never in practice: writing into a string doesn't fail.
pub(crate) fn encode(shared: &Arc<Shared>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape {
        runtime: shared.runtime.load_full(),
        shared: Arc::clone(shared),
    }));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

#[derive(Debug)]
struct Scrape {
    runtime: Arc<Runtime>,
    shared: Arc<Shared>,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.routes(&mut encoder)?;
        self.accounts(&mut encoder)?;
        self.providers(&mut encoder)?;
        self.process(&mut encoder)
    }
}

impl Scrape {
    fn routes(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut requests = counter(
            encoder,
            "weighbridge_requests",
            "Calls by Route and how they ended",
        )?;
        for (name, route) in &self.runtime.routes {
            let name = name.to_string();
            for outcome in Outcome::ALL {
                let total = route.metrics.0.sum(|cells| cells.outcome(outcome));
                add(
                    &mut requests,
                    &[("route", &name), ("outcome", outcome.label())],
                    total,
                )?;
            }
        }
        let mut failovers = counter(
            encoder,
            "weighbridge_failovers",
            "Calls that took more than one attempt",
        )?;
        for (name, route) in &self.runtime.routes {
            let total = route.metrics.0.sum(super::RouteCells::failovers);
            add(&mut failovers, &[("route", &name.to_string())], total)?;
        }
        let mut durations = histogram(
            encoder,
            "gen_ai_server_request_duration_seconds",
            "Time from a call's head to the end of its answer",
        )?;
        for (name, route) in &self.runtime.routes {
            for operation in Operation::ALL {
                let histograms = route
                    .metrics
                    .0
                    .iter()
                    .map(|cells| cells.duration(operation));
                let labels = [
                    ("route", name.to_string()),
                    (
                        "gen_ai_operation_name",
                        operation_name(operation).to_owned(),
                    ),
                ];
                observe(
                    &mut durations,
                    &labels,
                    &distribution(&SECONDS, &histograms),
                )?;
            }
        }
        let mut first_content = histogram(
            encoder,
            "gen_ai_server_time_to_first_token_seconds",
            "Time from a streamed call's head to its first content",
        )?;
        for (name, route) in &self.runtime.routes {
            let histograms = route.metrics.0.iter().map(super::RouteCells::first_content);
            let labels = [("route", name.to_string())];
            observe(
                &mut first_content,
                &labels,
                &distribution(&SECONDS, &histograms),
            )?;
        }
        Ok(())
    }

    fn accounts(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut attempts = counter(
            encoder,
            "weighbridge_attempts",
            "Requests sent to providers, by account and how they ended",
        )?;
        self.each_account(|provider, account| {
            for outcome in AttemptOutcome::ALL {
                let labels = [
                    ("provider", provider),
                    ("account", &account.name),
                    ("outcome", outcome.label()),
                ];
                add(&mut attempts, &labels, account.metrics.attempts(outcome))?;
            }
            Ok(())
        })?;
        let mut cooldowns = counter(
            encoder,
            "weighbridge_cooldowns",
            "Cool-downs of accounts that were rate-limited",
        )?;
        self.each_account(|provider, account| {
            let total = account.metrics.0.sum(super::AccountCells::cooldowns);
            add(&mut cooldowns, &account_labels(provider, account), total)
        })?;
        let now = Instant::now();
        let mut usable = gauge(
            encoder,
            "weighbridge_account_usable",
            "1 while an account may be asked, 0 while it cools down or is refused",
        )?;
        self.each_account(|provider, account| {
            let state = account.health.state(now);
            let is_usable = matches!(state, Eligibility::Usable | Eligibility::RampingUp);
            set(
                &mut usable,
                &account_labels(provider, account),
                u64::from(is_usable),
            )
        })
    }

    fn each_account(&self, mut visit: impl FnMut(&str, &Account) -> fmt::Result) -> fmt::Result {
        for (name, provider) in &self.runtime.providers {
            let name = name.to_string();
            provider
                .accounts
                .iter()
                .try_for_each(|account| visit(&name, account))?;
        }
        Ok(())
    }

    fn providers(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let mut tokens = histogram(
            encoder,
            "gen_ai_client_token_usage",
            "Tokens that providers' answers say they used",
        )?;
        for (name, provider) in &self.runtime.providers {
            for (kind, distribution) in token_usage(provider) {
                let labels = [
                    ("provider", name.to_string()),
                    ("gen_ai_provider_name", "openai".to_owned()),
                    ("gen_ai_token_type", kind.to_owned()),
                ];
                observe(&mut tokens, &labels, &distribution)?;
            }
        }
        let mut repeats = counter(
            encoder,
            "weighbridge_repeats",
            "Attempts that repeated the same backend",
        )?;
        for (name, provider) in &self.runtime.providers {
            let total = provider.metrics.0.sum(super::ProviderCells::repeats);
            add(&mut repeats, &[("provider", &name.to_string())], total)?;
        }
        Ok(())
    }

    fn process(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let workers = &self.shared.workers;
        let mut refusals = counter(
            encoder,
            "weighbridge_refusals",
            "Calls refused before a Route was chosen, by error code",
        )?;
        for code in REFUSALS {
            let cells = workers.iter().filter_map(|cells| cells.refusal(code));
            let total = cells.map(crate::cells::Counter::get).sum();
            add(&mut refusals, &[("code", code)], total)?;
        }
        let closed = workers.sum(|cells| &cells.closed);
        let open = workers.sum(|cells| &cells.accepted).saturating_sub(closed);
        gauge(
            encoder,
            "weighbridge_connections",
            "Connections from callers now",
        )?
        .encode_gauge(&open)?;
        let mut connects = counter(
            encoder,
            "weighbridge_upstream_connects",
            "Connections to providers that were opened",
        )?;
        add(&mut connects, &[], workers.sum(|cells| &cells.connects))?;
        let mut stale = counter(
            encoder,
            "weighbridge_upstream_stale_connections",
            "Idle connections found closed when used; each cost a connection, no request",
        )?;
        add(&mut stale, &[], workers.sum(|cells| &cells.stale))?;
        gauge(
            encoder,
            "weighbridge_buffered_bytes",
            "Bytes of request bodies held now",
        )?
        .encode_gauge(&(self.shared.buffered.held() as u64))?;
        let mut dropped = counter(
            encoder,
            "weighbridge_log_lines_dropped",
            "Log lines that nobody took in time",
        )?;
        add(&mut dropped, &[], logging::dropped_lines())?;
        let revision = [("revision", self.runtime.revision.to_string())];
        let mut configuration = encoder.encode_descriptor(
            "weighbridge_configuration",
            "The configuration in force",
            None,
            MetricType::Info,
        )?;
        configuration.encode_info(&revision)
    }
}

fn token_usage(provider: &Provider) -> [(&'static str, Distribution); 2] {
    let cells = &provider.metrics.0;
    [
        (
            "input",
            distribution(
                &TOKENS,
                &cells.iter().map(super::ProviderCells::input_tokens),
            ),
        ),
        (
            "output",
            distribution(
                &TOKENS,
                &cells.iter().map(super::ProviderCells::output_tokens),
            ),
        ),
    ]
}

/// The operation's name in OpenTelemetry's GenAI conventions; Responses is a chat operation there too,
/// but told apart here.
fn operation_name(operation: Operation) -> &'static str {
    match operation {
        Operation::ChatCompletions => "chat",
        Operation::Completions => "text_completion",
        Operation::Responses => "responses",
        Operation::Embeddings => "embeddings",
    }
}

fn account_labels<'a>(provider: &'a str, account: &'a Account) -> [(&'static str, &'a str); 2] {
    [("provider", provider), ("account", &account.name)]
}

fn counter<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Counter)
}

fn gauge<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Gauge)
}

fn histogram<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &str,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, MetricType::Histogram)
}

fn add(metric: &mut MetricEncoder<'_>, labels: &[(&str, &str)], total: u64) -> fmt::Result {
    metric
        .encode_family(&labels)?
        .encode_counter::<NoLabelSet, _, u64>(&total, None)
}

fn set(metric: &mut MetricEncoder<'_>, labels: &[(&str, &str)], value: u64) -> fmt::Result {
    metric.encode_family(&labels)?.encode_gauge(&value)
}

fn observe(
    metric: &mut MetricEncoder<'_>,
    labels: &[(&str, String)],
    distribution: &Distribution,
) -> fmt::Result {
    metric
        .encode_family(&labels)?
        .encode_histogram::<NoLabelSet>(
            distribution.sum,
            distribution.count,
            &distribution.buckets,
            None,
        )
}
