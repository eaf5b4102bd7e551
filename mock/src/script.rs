//! Which request meets which fault.
//!
//! Owns the script (rules with conditions and counts), its YAML form, and its state while it runs.
//! Must never do any IO: a request is a few facts here.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::fault::{Fault, FaultError, pairs};

/// Rules in order; the first that applies to a request gives its fault.
///
/// ```
/// let script: weighbridge_mock::Script = "
/// rules:
/// - when: {path: /v1/chat/completions, model: gpt-*, account: a1b2}
///   times: 2
///   fault: {status: 429, retry-after: 2}
/// - when: {stream: true, nth: 3}
///   fault: {cut: before-content}
/// ".parse()?;
/// assert_eq!(script.rules.len(), 2);
/// # Ok::<(), weighbridge_mock::ScriptError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Script {
    /// The rules, in order.
    pub rules: Vec<Rule>,
}

/// One fault, and the requests that meet it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Rule {
    /// Conditions, all of which must hold; none: every request.
    #[serde(default)]
    pub when: When,
    /// How often the fault happens before the rule is used up; left out: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u64>,
    /// What happens.
    pub fault: Fault,
}

/// Conditions on a request; what is left out holds for all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct When {
    /// The path, exact, or a prefix and `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The model, exact, or a prefix and `*`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The end of the key that was presented, for example its last four characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// Whether a stream is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// Only the so-manieth (from 1) of the requests for which the other conditions hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nth: Option<u64>,
    /// Only each so-manieth of the requests for which the other conditions hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every: Option<u64>,
}

/// Why a script was refused.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The text has no such form; the cause names field, line and column.
    #[error("the script cannot be read: {0}")]
    Form(#[source] serde_yaml::Error),
    /// A rule cannot be carried out.
    #[error("rules[{index}].{field}: {problem}")]
    Rule {
        /// Which rule, from 0.
        index: usize,
        /// Which part of it.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
}

impl Script {
    /// Says what in this script cannot be carried out.
    ///
    /// # Errors
    /// The first rule with a fault or a count that makes no sense.
    pub fn check(&self) -> Result<(), ScriptError> {
        for (index, rule) in self.rules.iter().enumerate() {
            let refused = |field, problem: String| ScriptError::Rule {
                index,
                field,
                problem,
            };
            rule.fault
                .check()
                .map_err(|error| refused("fault", error.0))?;
            let counts = [
                ("when.nth", rule.when.nth),
                ("when.every", rule.when.every),
                ("times", rule.times),
            ];
            for (field, count) in counts {
                if count == Some(0) {
                    return Err(refused(field, "0 is not 1 or more".to_owned()));
                }
            }
        }
        Ok(())
    }
}

impl FromStr for Script {
    type Err = ScriptError;

    /// Reads YAML, and so JSON.
    fn from_str(text: &str) -> Result<Self, ScriptError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        let script: Self = serde_yaml::from_str(text).map_err(ScriptError::Form)?;
        script.check()?;
        Ok(script)
    }
}

impl Rule {
    /// A rule by which every request meets `fault`.
    pub fn always(fault: Fault) -> Self {
        Self {
            fault,
            ..Self::default()
        }
    }

    /// Limits the rule to its first `times` applications.
    #[must_use]
    pub fn times(mut self, times: u64) -> Self {
        self.times = Some(times);
        self
    }

    /// Limits the rule to the `nth` (from 1) request for which its other conditions hold.
    #[must_use]
    pub fn nth(mut self, nth: u64) -> Self {
        self.when.nth = Some(nth);
        self
    }

    /// Limits the rule to requests with a key that ends like this.
    #[must_use]
    pub fn account(mut self, end: impl Into<String>) -> Self {
        self.when.account = Some(end.into());
        self
    }

    /// Limits the rule to requests for a model: exact, or a prefix and `*`.
    #[must_use]
    pub fn model(mut self, pattern: impl Into<String>) -> Self {
        self.when.model = Some(pattern.into());
        self
    }

    /// Limits the rule to a path: exact, or a prefix and `*`.
    #[must_use]
    pub fn path(mut self, pattern: impl Into<String>) -> Self {
        self.when.path = Some(pattern.into());
        self
    }

    /// Limits the rule to requests that ask for a stream, or to those that don't.
    #[must_use]
    pub fn stream(mut self, stream: bool) -> Self {
        self.when.stream = Some(stream);
        self
    }
}

impl From<Fault> for Rule {
    fn from(fault: Fault) -> Self {
        Self::always(fault)
    }
}

impl From<Fault> for Script {
    fn from(fault: Fault) -> Self {
        Rule::always(fault).into()
    }
}

impl From<Rule> for Script {
    fn from(rule: Rule) -> Self {
        Self { rules: vec![rule] }
    }
}

impl From<Vec<Rule>> for Script {
    fn from(rules: Vec<Rule>) -> Self {
        Self { rules }
    }
}

impl<const N: usize> From<[Rule; N]> for Script {
    fn from(rules: [Rule; N]) -> Self {
        Self {
            rules: rules.into(),
        }
    }
}

/// What a rule may look at in a request.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Facts<'a> {
    /// The path without its query.
    pub(crate) path: &'a str,
    /// The model, where the body names one.
    pub(crate) model: Option<&'a str>,
    /// The key, where one was presented.
    pub(crate) key: Option<&'a str>,
    /// Whether a stream is asked for.
    pub(crate) stream: bool,
}

impl When {
    /// Whether all conditions but the counts hold.
    fn holds(&self, facts: Facts<'_>) -> bool {
        let path = self
            .path
            .as_deref()
            .is_none_or(|pattern| matches(pattern, facts.path));
        let model = self
            .model
            .as_deref()
            .is_none_or(|pattern| facts.model.is_some_and(|model| matches(pattern, model)));
        let account = self
            .account
            .as_deref()
            .is_none_or(|end| facts.key.is_some_and(|key| key.ends_with(end)));
        let stream = self.stream.is_none_or(|stream| stream == facts.stream);
        path && model && account && stream
    }

    /// Whether the counts pick the `seen`-th request.
    fn picks(&self, seen: u64) -> bool {
        let nth = self.nth.is_none_or(|nth| nth == seen);
        let every = self
            .every
            .is_none_or(|every| every != 0 && seen.is_multiple_of(every));
        nth && every
    }
}

fn matches(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => text.starts_with(prefix),
        None => pattern == text,
    }
}

/// The fault that a request brings in its own `x-mock-fault` header.
///
/// `when.account=a1b2` and the other conditions narrow it to the providers that it is meant for,
/// since a gateway hands the header to all of them.
///
/// # Errors
/// The first key or value that makes no sense.
pub(crate) fn of_header(text: &str, facts: Facts<'_>) -> Result<Option<Fault>, FaultError> {
    let (conditions, rest): (Vec<_>, Vec<_>) =
        pairs(text).partition(|(key, _)| key.starts_with("when."));
    let mut when = When::default();
    for (key, value) in conditions {
        let unknown = || {
            FaultError(format!(
                "{key}={value}: known are when.path, when.model, when.account, when.stream=true"
            ))
        };
        match key {
            "when.path" => when.path = Some(value.to_owned()),
            "when.model" => when.model = Some(value.to_owned()),
            "when.account" => when.account = Some(value.to_owned()),
            "when.stream" => when.stream = Some(value.parse().map_err(|_| unknown())?),
            _ => return Err(unknown()),
        }
    }
    let rest: Vec<_> = rest
        .iter()
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let fault: Fault = rest.join(",").parse()?;
    Ok(when.holds(facts).then_some(fault))
}

/// A script and how far it has run.
#[derive(Debug, Default)]
pub(crate) struct Run {
    rules: Vec<RunningRule>,
}

#[derive(Debug)]
struct RunningRule {
    rule: Rule,
    seen: u64,
    fired: u64,
}

impl Run {
    /// Begins a script.
    pub(crate) fn new(script: Script) -> Self {
        let begin = |rule| RunningRule {
            rule,
            seen: 0,
            fired: 0,
        };
        Self {
            rules: script.rules.into_iter().map(begin).collect(),
        }
    }

    /// The fault that the next request meets. Every rule whose conditions hold counts the request,
    /// up to the one that applies.
    pub(crate) fn next(&mut self, facts: Facts<'_>) -> Option<Fault> {
        self.rules
            .iter_mut()
            .find_map(|running| running.next(facts))
    }

    /// The script as it was given.
    pub(crate) fn script(&self) -> Script {
        Script {
            rules: self
                .rules
                .iter()
                .map(|running| running.rule.clone())
                .collect(),
        }
    }
}

impl RunningRule {
    fn next(&mut self, facts: Facts<'_>) -> Option<Fault> {
        if self.rule.times.is_some_and(|times| self.fired >= times) || !self.rule.when.holds(facts)
        {
            return None;
        }
        self.seen += 1;
        if !self.rule.when.picks(self.seen) {
            return None;
        }
        self.fired += 1;
        Some(self.rule.fault.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(model: &'static str) -> Facts<'static> {
        Facts {
            path: "/v1/chat/completions",
            model: Some(model),
            key: Some("sk-a1b2"),
            stream: true,
        }
    }

    /// How many of ten equal requests meet a fault, by their number from 1.
    fn struck(rule: Rule) -> Vec<u64> {
        let mut run = Run::new(rule.into());
        (1..=10)
            .filter(|_| run.next(facts("gpt-5")).is_some())
            .collect()
    }

    #[test]
    fn a_rule_counts() {
        let always = || Rule::always(Fault::status(500));
        let every = |every| {
            let mut rule = always();
            rule.when.every = Some(every);
            rule
        };
        assert_eq!(struck(always()).len(), 10);
        assert_eq!(struck(always().times(2)), [1, 2]);
        assert_eq!(struck(always().nth(4)), [4]);
        assert_eq!(struck(every(3)), [3, 6, 9]);
        assert_eq!(struck(every(3).times(2)), [3, 6]);
    }

    #[test]
    fn all_conditions_have_to_hold() {
        let rule = Rule::always(Fault::status(500))
            .model("gpt-*")
            .account("a1b2")
            .stream(true);
        assert!(rule.when.holds(facts("gpt-5")));
        assert!(!rule.when.holds(facts("o3")));
        assert!(!rule.when.holds(Facts {
            key: None,
            ..facts("gpt-5")
        }));
        assert!(!rule.when.holds(Facts {
            stream: false,
            ..facts("gpt-5")
        }));
        assert!(!rule.when.holds(Facts {
            model: None,
            ..facts("gpt-5")
        }));
        assert!(!rule.clone().path("/v1/chat").when.holds(facts("gpt-5")));
        assert!(rule.path("/v1/chat*").when.holds(facts("gpt-5")));
    }

    #[test]
    fn the_first_rule_that_applies_gives_its_fault() {
        let mut run = Run::new(
            [
                Rule::always(Fault::status(429)).times(1),
                Rule::always(Fault::status(500)),
            ]
            .into(),
        );
        let mut next = || run.next(facts("gpt-5")).and_then(|fault| fault.status);
        assert_eq!([next(), next(), next()], [Some(429), Some(500), Some(500)]);
    }

    #[test]
    fn a_script_reads_as_it_is_written() {
        let text = "
rules:
- when: {path: /v1/*, model: gpt-5, account: a1b2, stream: true, nth: 2, every: 2}
  times: 3
  fault:
    {status: 429, error: slow-down, style: sglang, message: m, retry-after: soon,
     retry-after-date: 2s, retry-after-ms: 1500, reset-requests: 6m0s, reset-tokens: 120ms,
     headers: {x-should-retry: 'true', x-number: 7}, header-bytes: 9, content-type: text/plain,
     body: raw, text: t, words: 5, voice: refusal, huge-line: 10, usage: missing, delay: 1m,
     first-event-delay: 1ms, event-delay: 2us, drip: 4/1s, cut: mid-body, error-event: 3,
     garbage: head, sse: [crlf, bom], chop: 3, batch: 2, framing: close, hang-up: on-reuse}
- fault: {stall: before-content, sse: crlf+bom}
- fault: {end: 7}
";
        let script: Script = text.parse().unwrap();
        insta::assert_yaml_snapshot!(script);
        let again: Script = serde_yaml::to_string(&script).unwrap().parse().unwrap();
        assert_eq!(again, script);
    }

    #[test]
    fn a_script_that_is_refused_says_where_and_why() {
        let scripts = [
            "rules:\n- fault: {statos: 429}",
            "rules:\n- fault: {status: 429}\n  when: {modell: x}",
            "rules:\n- fault:\n    status: 429\n    delay: 5 minutes",
            "rules:\n- fault: {cut: later}",
            "rules:\n- fault: {sse: [crlf, lf]}",
            "rules:\n- when: {nth: 1}",
            "rules:\n- fault: {}\n- fault: {status: 99}",
            "rules:\n- fault: {cut: 1, end: 2}",
            "rules:\n- fault: {}\n  times: 0",
            "rules:\n- fault: {headers: {a b: c}}",
            "rules: [",
            "rule: []",
        ];
        let shown = scripts.map(|text| text.parse::<Script>().unwrap_err().to_string());
        insta::assert_snapshot!(shown.join("\n"));
    }

    #[test]
    fn nothing_is_an_empty_script() {
        assert_eq!("\n".parse::<Script>().unwrap(), Script::default());
    }
}
