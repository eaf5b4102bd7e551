//! The wire form: golden, there and back, and refusals.

use super::*;
use crate::{
    Account, AccountNarrowing, Backend, BackendModel, Backoff, CatalogueModel, Dialect, Endpoint,
    Failover, FailoverReason, ModelPattern, Namespaces, Operation, ProviderTimeouts, Retry,
    RetryBudget, RouteRef, Scheme, Target, TokenDigest,
};
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::time::Duration;

fn provider() -> Provider {
    Provider {
        dialect: Dialect::OpenAI,
        endpoint: Endpoint {
            scheme: Scheme::Https,
            host: "api.openai.com".into(),
            port: 443,
            path: "/v1".into(),
        },
        accounts: vec![Account {
            name: "research".into(),
            has_credential: true,
            weight: 70,
            models: vec![ModelPattern::Prefix("gpt-5".into())],
            admits: Namespaces::Only(BTreeSet::from(["team".into()])),
        }],
        retry: Retry {
            max_retries: 1,
            backoff: Backoff {
                initial: Duration::from_millis(100),
                max: Duration::from_secs(5),
            },
            budget: RetryBudget {
                percent: 20,
                interval: Duration::from_secs(10),
            },
        },
        timeouts: ProviderTimeouts {
            connect: Duration::from_secs(2),
            first_event: Duration::from_mins(1),
            idle: Duration::from_mins(1),
            request: Duration::from_mins(10),
        },
        models: vec![CatalogueModel {
            name: "gpt-5-mini".into(),
            operations: Some(BTreeSet::from([Operation::ChatCompletions])),
        }],
    }
}

fn route() -> Route {
    Route {
        models: vec![
            ModelPattern::Exact("chat".into()),
            ModelPattern::Prefix("openai/".into()),
        ],
        admits: Namespaces::All,
        targets: vec![Target {
            name: "hosted".into(),
            backends: vec![
                Backend {
                    name: "openai".into(),
                    provider: Some(ObjectName::new("ai", "openai")),
                    model: BackendModel::Named("gpt-5-mini".into()),
                    weight: 70,
                    accounts: Some(BTreeSet::from(["research".into()])),
                },
                Backend {
                    name: "gone".into(),
                    provider: None,
                    model: BackendModel::Wildcard,
                    weight: 30,
                    accounts: None,
                },
            ],
        }],
        failover: Failover {
            on: BTreeSet::from([FailoverReason::Connect, FailoverReason::RateLimited]),
            max_attempts: 6,
            window: Duration::from_mins(2),
        },
        request_timeout: Duration::from_mins(10),
    }
}

fn snapshot() -> Snapshot {
    Snapshot {
        providers: BTreeMap::from([(ObjectName::new("ai", "openai"), provider())]),
        routes: BTreeMap::from([(ObjectName::new("ai", "chat"), route())]),
        virtual_keys: BTreeMap::from([(
            ObjectName::new("team", "captions"),
            VirtualKey {
                tokens: vec![TokenDigest::of(b"wb-token")],
                routes: vec![RouteRef {
                    namespace: "ai".into(),
                    name: None,
                }],
                accounts: vec![AccountNarrowing {
                    provider: ObjectName::new("ai", "openai"),
                    names: BTreeSet::from(["research".into()]),
                }],
                suspended: false,
                expires_at: Some(1_798_761_600),
            },
        )]),
        credentials: BTreeMap::from([(
            CredentialName {
                provider: ObjectName::new("ai", "openai"),
                account: "research".into(),
            },
            Credential::ApiKey(Redacted::new("sk-research".into())),
        )]),
    }
}

/// The form as it was released; never edited, only joined by a file for the next form.
const RELEASED: &str = include_str!("v1.json");

#[test]
fn the_released_form_stays_readable_and_is_what_is_written() {
    assert_eq!(decode(RELEASED.as_bytes()).unwrap(), snapshot());
    let released: serde_json::Value = serde_json::from_str(RELEASED).unwrap();
    let written: serde_json::Value = serde_json::from_slice(&encode(&snapshot())).unwrap();
    assert_eq!(written, released);
}

#[test]
fn an_edited_or_cut_file_is_refused() {
    let text = String::from_utf8(encode(&snapshot())).unwrap();
    let edited = text.replace("\"weight\":70", "\"weight\":71");
    assert!(matches!(
        decode(edited.as_bytes()),
        Err(DecodeError::Revision { .. })
    ));
    let other = text.replace(FORMAT, "weighbridge.dev/snapshot/v9");
    assert!(
        matches!(decode(other.as_bytes()), Err(DecodeError::Format(found)) if found.ends_with("v9"))
    );
    let (half, _) = text.split_at(text.len() / 2);
    assert!(matches!(
        decode(half.as_bytes()),
        Err(DecodeError::Shape(_))
    ));
}

#[test]
fn every_part_changes_the_revision() {
    let before = snapshot().revision();
    let mut changed = snapshot();
    changed.credentials.clear();
    assert_ne!(changed.revision(), before);
    let mut changed = snapshot();
    changed.routes.clear();
    assert_ne!(changed.revision(), before);
    let mut changed = snapshot();
    changed
        .virtual_keys
        .values_mut()
        .for_each(|key| key.suspended = true);
    assert_ne!(changed.revision(), before);
}

proptest! {
    #[test]
    fn decode_of_encode_gives_the_snapshot_back(
        names in prop::collection::btree_set("[a-z]{1,6}", 0..6),
        weights in prop::collection::vec(0_u32..=1_000_000, 6),
        millis in 0_u64..86_400_000,
        secret in "[!-~]{1,40}",
    ) {
        let mut value = Snapshot::default();
        for (name, weight) in names.iter().zip(weights) {
            let id = ObjectName::new("ns", name.clone());
            let mut one = provider();
            one.accounts[0].weight = weight;
            one.timeouts.idle = Duration::from_millis(millis);
            value.providers.insert(id.clone(), one);
            value.routes.insert(id.clone(), route());
            let name = CredentialName { provider: id, account: "a".into() };
            value.credentials.insert(name, Credential::ApiKey(Redacted::new(secret.clone())));
        }
        prop_assert_eq!(decode(&encode(&value)).unwrap(), value);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let _ = decode(&bytes);
    }
}
