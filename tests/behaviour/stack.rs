//! Providers, gateway and caller of one test, on loopback. Must never wait for a clock: what a test
//! waits for is an answer, or a count at a provider.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Deserialize as _;
use serde_json::{Value, json};
use weighbridge_compiler::{LastGood, Secret, World, compile};
use weighbridge_dataplane::{Gateway, Settings};
use weighbridge_mock::{Config, Fault, Mock};
use weighbridge_snapshot::{ObjectName, Redacted, Snapshot};

/// The virtual key of most tests.
pub(crate) const KEY: &str = "wb-test-0123456789abcdef";

/// A gateway with its providers and a caller.
pub(crate) struct Stack {
    pub(crate) gateway: Gateway,
    pub(crate) providers: Vec<Mock>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// An answer, read whole.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// Whether the body ended as it should; false when the connection broke within it.
    pub(crate) is_whole: bool,
}

impl Stack {
    /// Starts `providers` mocks and a gateway over `resources`, in which `{0}`, `{1}`, … stand for
    /// their base URLs.
    pub(crate) async fn start(providers: usize, resources: &str) -> Self {
        let mut mocks = Vec::new();
        for _ in 0..providers {
            mocks.push(Mock::start(Config::default()).await.unwrap());
        }
        Self::with(mocks, resources).await
    }

    /// The same over mocks that are running already.
    pub(crate) async fn with(providers: Vec<Mock>, resources: &str) -> Self {
        Self::with_settings(providers, resources, settings()).await
    }

    /// The same with other settings.
    pub(crate) async fn with_settings(
        providers: Vec<Mock>,
        resources: &str,
        settings: Settings,
    ) -> Self {
        let snapshot = snapshot_of(&with_addresses(&providers, resources));
        let gateway = Gateway::start(&settings, &snapshot).await.unwrap();
        Self {
            gateway,
            providers,
            client: Client::builder(TokioExecutor::new()).build_http(),
        }
    }

    /// Puts other resources in force.
    pub(crate) fn apply(&self, resources: &str) {
        let snapshot = snapshot_of(&with_addresses(&self.providers, resources));
        self.gateway.apply(&snapshot);
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.gateway.listen_address())
    }

    /// Sends a request as it is.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        self.client.request(request).await.unwrap()
    }

    /// Posts JSON with the usual key and reads the whole answer.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, body, &[]).await
    }

    /// The same with further headers; one named `authorization` replaces the usual key.
    pub(crate) async fn post_with(
        &self,
        path: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::post(self.url(path))
            .header("content-type", "application/json")
            .header("authorization", format!("Bearer {KEY}"))
            .body(Full::from(body.to_string()))
            .unwrap();
        for (name, value) in headers {
            let name: http::HeaderName = name.parse().unwrap();
            request.headers_mut().insert(name, value.parse().unwrap());
        }
        Answer::read(self.send(request).await).await
    }

    /// A chat call for `model`.
    pub(crate) async fn chat(&self, model: &str) -> Answer {
        self.post("/v1/chat/completions", &chat(model)).await
    }

    /// Gets a path with the usual key.
    pub(crate) async fn get(&self, path: &str) -> Answer {
        let request = Request::get(self.url(path))
            .header("authorization", format!("Bearer {KEY}"))
            .body(Full::default())
            .unwrap();
        Answer::read(self.send(request).await).await
    }

    /// Gets a path of the admin port.
    pub(crate) async fn admin(&self, path: &str) -> Answer {
        let url = format!("http://{}{path}", self.gateway.admin_address());
        let request = Request::get(url).body(Full::default()).unwrap();
        Answer::read(self.send(request).await).await
    }

    /// Returns when `/metrics` has a line that ends with `text`. It asks again and again: the gateway has no
    /// other way of telling.
    pub(crate) async fn until_metric(&self, text: &str) {
        crate::socket::within(async {
            loop {
                let metrics = self.admin("/metrics").await.text();
                if metrics.lines().any(|line| line.ends_with(text)) {
                    return;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Requests that a provider has seen, by the last four characters of the account's key.
    pub(crate) fn by_account(&self, provider: usize) -> BTreeMap<String, u64> {
        self.providers[provider].counters().by_account
    }

    /// Requests that a provider has seen.
    pub(crate) fn seen(&self, provider: usize) -> u64 {
        self.providers[provider].counters().requests
    }
}

impl Answer {
    pub(crate) async fn read(response: http::Response<Incoming>) -> Self {
        let (head, mut incoming) = response.into_parts();
        let mut body = Vec::new();
        let mut is_whole = true;
        while let Some(frame) = incoming.frame().await {
            let Ok(frame) = frame else {
                is_whole = false;
                break;
            };
            body.extend_from_slice(frame.data_ref().unwrap_or(&Bytes::new()));
        }
        Self {
            status: head.status,
            headers: head.headers,
            body: body.into(),
            is_whole,
        }
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// `error.code`.
    pub(crate) fn code(&self) -> String {
        self.json()["error"]["code"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The value of a header; empty when it is absent.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The `data` of each event of a stream, in order.
    pub(crate) fn events(&self) -> Vec<String> {
        let text = self.text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(str::to_owned).collect()
    }
}

/// Port 0 everywhere, two workers, and no time for a drain.
pub(crate) fn settings() -> Settings {
    Settings {
        listen: "127.0.0.1:0".parse().unwrap(),
        admin: "127.0.0.1:0".parse().unwrap(),
        workers: std::num::NonZeroUsize::new(2),
        drain_delay_seconds: 0,
        ..Settings::default()
    }
}

/// The body of a chat call.
pub(crate) fn chat(model: &str) -> Value {
    json!({"messages": [{"role": "user", "content": "hello"}], "model": model})
}

/// The body of a streamed chat call.
pub(crate) fn chat_stream(model: &str) -> Value {
    let mut body = chat(model);
    body["stream"] = json!(true);
    body
}

/// A Provider over mock `index` whose accounts are `accounts` (name, weight), with keys `sk-NAME`; `spec` is further
/// YAML of its spec, indented by two.
pub(crate) fn provider(name: &str, index: usize, accounts: &[(&str, u32)], spec: &str) -> String {
    let list: Vec<String> = accounts
        .iter()
        .map(|(account, weight)| {
            format!("  - {{name: {account}, secretRef: {{name: {name}, key: {account}}}, weight: {weight}}}\n")
        })
        .collect();
    let keys: Vec<String> = accounts
        .iter()
        .map(|(account, _)| format!("  {account}: sk-{account}\n"))
        .collect();
    let (list, keys) = (list.concat(), keys.concat());
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata: {{name: {name}}}\nstringData:\n{keys}\
         ---\napiVersion: weighbridge.dev/v1alpha1\nkind: Provider\nmetadata: {{name: {name}}}\n\
         spec:\n  dialect: OpenAI\n  endpoint: {{{index}}}\n  accounts:\n{list}{spec}"
    )
}

/// The YAML of targets: each a list of backends (Provider and backend name, weight) asked for `gpt-5-mini`.
pub(crate) fn targets(targets: &[&[(&str, u32)]]) -> String {
    let backend = |(name, weight): &(&str, u32)| {
        format!(
            "    - {{name: {name}, providerRef: {{name: {name}}}, model: gpt-5-mini, weight: {weight}}}\n"
        )
    };
    let target = |(index, backends): (usize, &&[(&str, u32)])| {
        let backends: String = backends.iter().map(backend).collect();
        format!("  - name: target-{index}\n    backends:\n{backends}")
    };
    let targets: String = targets.iter().enumerate().map(target).collect();
    format!("  targets:\n{targets}")
}

/// A mock's fault, from its text form.
pub(crate) fn fault(text: &str) -> Fault {
    text.parse().unwrap()
}

/// A Route for `model`; `targets` is the YAML of its targets (and further spec), indented by two.
pub(crate) fn route(name: &str, model: &str, targets: &str) -> String {
    format!(
        "---\napiVersion: weighbridge.dev/v1alpha1\nkind: Route\nmetadata: {{name: {name}}}\n\
         spec:\n  models: [\"{model}\"]\n{targets}"
    )
}

/// A virtual key for every Route of the namespace, with the token `token`.
pub(crate) fn key(name: &str, token: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Secret\nmetadata:\n  name: {name}-key\n  labels: {{weighbridge.dev/virtual-key: {name}}}\n\
         stringData: {{token: {token}}}\n\
         ---\napiVersion: weighbridge.dev/v1alpha1\nkind: VirtualKey\nmetadata: {{name: {name}}}\n\
         spec:\n  secretName: {name}-key\n  routeRefs: [{{namespace: default, name: \"*\"}}]\n"
    )
}

/// The same in a namespace, with further YAML of its spec, indented by two.
pub(crate) fn key_in(namespace: &str, name: &str, token: &str, spec: &str) -> String {
    let named = format!("name: {name}");
    let here = format!("namespace: {namespace}, {named}");
    key(name, token)
        .replace(&format!("{{{named}}}"), &format!("{{{here}}}"))
        .replace(
            &format!("  {named}-key\n"),
            &format!("  {named}-key\n  namespace: {namespace}\n"),
        )
        + spec
}

/// One provider with two accounts at 70/30, one Route `chat`, one key.
pub(crate) fn two_accounts() -> String {
    [
        provider("one", 0, &[("large", 70), ("small", 30)], ""),
        route(
            "chat",
            "chat",
            "  targets: [{name: only, backends: [{name: one, providerRef: {name: one}, model: gpt-5-mini}]}]\n",
        ),
        key("team", KEY),
    ]
    .concat()
}

fn with_addresses(providers: &[Mock], resources: &str) -> String {
    let mut text = resources.to_owned();
    for (index, provider) in providers.iter().enumerate() {
        text = text.replace(
            &format!("{{{index}}}"),
            &format!("http://{}/v1", provider.address()),
        );
    }
    text
}

/// Compiles YAML documents; whatever is refused or unresolved fails the test, unless it says so itself
/// with the annotation `test/unresolved`.
pub(crate) fn snapshot_of(resources: &str) -> Snapshot {
    let compiled = compile(&world_of(resources), &LastGood::default());
    for (id, verdict) in &compiled.verdicts {
        assert!(verdict.accepted.holds(), "{id:?}: {verdict:?}");
    }
    compiled.snapshot
}

fn world_of(resources: &str) -> World {
    let mut world = World::default();
    for document in serde_yaml::Deserializer::from_str(resources) {
        let value = serde_yaml::Value::deserialize(document).unwrap();
        if value.is_null() {
            continue;
        }
        let metadata = &value["metadata"];
        let text = |value: &serde_yaml::Value| value.as_str().map(str::to_owned);
        let id = ObjectName::new(
            text(&metadata["namespace"]).unwrap_or_else(|| "default".to_owned()),
            text(&metadata["name"]).unwrap(),
        );
        match value["kind"].as_str().unwrap() {
            "Provider" => drop(
                world
                    .providers
                    .insert(id, serde_yaml::from_value(value).unwrap()),
            ),
            "Route" => drop(
                world
                    .routes
                    .insert(id, serde_yaml::from_value(value).unwrap()),
            ),
            "VirtualKey" => {
                drop(
                    world
                        .virtual_keys
                        .insert(id, serde_yaml::from_value(value).unwrap()),
                );
            }
            "Secret" => {
                let data: BTreeMap<String, String> =
                    serde_yaml::from_value(value["stringData"].clone()).unwrap();
                let labels = serde_yaml::from_value(metadata["labels"].clone()).unwrap_or_default();
                let data = data
                    .into_iter()
                    .map(|(key, value)| (key, Redacted::new(value.into_bytes())))
                    .collect();
                world.secrets.insert(id, Secret { labels, data });
            }
            "Namespace" => {
                let labels = serde_yaml::from_value(metadata["labels"].clone()).unwrap_or_default();
                world.namespaces.insert(id.name, labels);
            }
            other => panic!("the stack knows no {other}"),
        }
    }
    world
}
