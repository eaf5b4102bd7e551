//! A faithful, scripted fake OpenAI provider.
//!
//! Owns the imitation of a provider, healthy and broken, and the record of what reached it. Must
//! never know the gateway or any other package of this workspace.
//!
//! It listens on a real socket and speaks HTTP/1.1: `POST /v1/chat/completions`, `/v1/completions`,
//! `/v1/responses` and `/v1/embeddings`, `GET /v1/models` and `/v1/models/{id}`, unary and as event
//! streams. Answers have OpenAI's shapes and headers down to the order of fields; what they say is a
//! function of the request, the seed and the number of the request, and names the provider and the
//! end of the key that was used. Tools are called when they are offered (those that the user's text
//! names, else the first), and a JSON schema gets an example value.
//!
//! ```
//! use weighbridge_mock::{Config, Fault, Mock, Rule};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let mock = Mock::start(Config { name: "north".to_owned(), ..Config::default() }).await?;
//! println!("try curl {}/v1/models", mock.url());
//!
//! // The key ending in a1b2 is limited twice; the third stream is cut after its role chunk.
//! mock.script([
//!     Rule::always("status=429,retry-after=2".parse::<Fault>()?).account("a1b2").times(2),
//!     Rule::always("cut=before-content".parse::<Fault>()?).stream(true).nth(3),
//! ]);
//!
//! // Whoever tests something that calls the mock waits for what the mock saw, not for a while.
//! let counters = mock.until(|counters| counters.requests == 2).await;
//! assert_eq!(counters.by_status.get(&429), Some(&2));
//! assert_eq!(mock.log()[0].body, r#"{"model":"gpt-5","messages":[]}"#.as_bytes());
//!
//! mock.stop().await; // connects are refused …
//! mock.start_again().await?; // … until now, on the same port
//! # Ok(())
//! # }
//! ```
//!
//! # Faults
//!
//! One vocabulary, [`Fault`], in four places; the first that applies wins:
//!
//! - in the request: `x-mock-fault: status=429,retry-after=2`. A gateway hands the header to every
//!   provider that it tries: `when.account=a1b2,status=429` means one of them;
//! - over HTTP: `PUT /_mock/faults` with a [`Script`] as YAML or JSON, `GET` shows it, `DELETE` takes
//!   it away;
//! - in a file of that form, which the caller reads into [`Config::script`];
//! - in Rust: [`Mock::script`].
//!
//! | to see | write |
//! |---|---|
//! | a limit | `status=429,retry-after=2`, `retry-after-date=2s`, `retry-after-ms=1500`, `reset-requests=6m0s` |
//! | a spent account, an overload | `error=insufficient-quota`, `error=overloaded` |
//! | another server's errors | `status=400,style=vllm` (`sglang`, `tgi`, `ollama`, `mistral`, `azure`, `html` …) |
//! | a 200 that is an error | `status=200,error=server-error`, `style=failed` (responses), `status=200,style=html` |
//! | slowness | `delay=2s`, `first-event-delay=2s`, `event-delay=50ms`, `drip=16/50ms` |
//! | a stall | `stall=before-head`, `stall=before-content`, `stall=5` |
//! | a cut | `cut=before-head`, `cut=after-head`, `cut=before-content`, `cut=5`, `cut=mid-body` |
//! | a clean end too early | `end=5` |
//! | an error inside of a stream | `error-event=0`, `error-event=3,error=overloaded` |
//! | odd streams | `sse=crlf+no-space+comments`, `chop=1`, `batch=10`, `huge-line=1000000` |
//! | no HTTP | `garbage=bytes`, `garbage=head`, `garbage=chunk-size` |
//! | dying connections | `hang-up=announced`, `hang-up=unannounced`, `hang-up=on-reuse` |
//!
//! # What was seen
//!
//! [`Mock::counters`] and [`Mock::log`], or `GET /_mock/counters` and `GET /_mock/log` (`DELETE`
//! empties the log). The control endpoints themselves need no key, are not logged, and count as
//! connections only. They are open to everyone who reaches the port: listen on loopback.
//!
//! # Where it is less than a provider
//!
//! No images, audio, files, batches, stored responses, log probabilities, custom or built-in tools.
//! A prompt is counted in words, not in a tokenizer's tokens. A caller that closes its sending half
//! is taken for one that left. What was written before a cut has been handed to the kernel; on
//! loopback that is as good as delivered.

mod answer;
mod config;
mod connection;
mod control;
mod fault;
mod journal;
mod mock;
mod program;
mod request;
mod scalar;
mod script;
mod sse;

pub use config::{Config, Pace};
pub use fault::{ErrorKind, Fault, FaultError, Framing, Garbage, HangUp, Style, UsageFault, Voice};
pub use journal::{Counters, Entry, Outcome};
pub use mock::{Mock, StartError};
pub use scalar::{Drip, Pause, Point, Quirk, Quirks, Raw, ScalarError};
pub use script::{Rule, Script, ScriptError, When};

#[cfg(test)]
mod tests;
