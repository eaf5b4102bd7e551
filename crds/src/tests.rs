//! What can't be read says which field, and what is allowed.

use crate::{Provider, Route, VirtualKey};

/// The error of reading a resource as the kind it states.
fn error_of(yaml: &str) -> String {
    let kind = yaml.lines().next().unwrap();
    let found = match kind {
        "kind: Provider" => serde_yaml::from_str::<Provider>(yaml).map(drop),
        "kind: Route" => serde_yaml::from_str::<Route>(yaml).map(drop),
        _ => serde_yaml::from_str::<VirtualKey>(yaml).map(drop),
    };
    found.unwrap_err().to_string()
}

const PROVIDER: &str = "kind: Provider
apiVersion: weighbridge.dev/v1alpha1
metadata: {name: p}
spec:
";

#[test]
fn an_unknown_field_is_named_with_those_that_exist() {
    let yaml = format!("{PROVIDER}  dialect: OpenAI\n  endpiont: http://host\n");
    insta::assert_snapshot!(error_of(&yaml));
}

#[test]
fn an_unknown_field_in_a_list_item_is_named_with_its_place() {
    let yaml = format!(
        "{PROVIDER}  dialect: OpenAI\n  accounts:\n  - name: a\n    wieght: 3\n    secretRef: {{name: s, key: k}}\n"
    );
    insta::assert_snapshot!(error_of(&yaml));
}

#[test]
fn an_unknown_enumeration_value_is_named_with_those_that_exist() {
    insta::assert_snapshot!(error_of(&format!("{PROVIDER}  dialect: Antropic\n")));
}

#[test]
fn a_value_of_the_wrong_type_is_named_with_its_place() {
    let yaml = format!("{PROVIDER}  dialect: OpenAI\n  retry: {{maxRetries: two}}\n");
    insta::assert_snapshot!(error_of(&yaml));
}

#[test]
fn a_missing_field_is_named() {
    insta::assert_snapshot!(error_of(
        "kind: Route\napiVersion: weighbridge.dev/v1alpha1\nmetadata: {name: r}\nspec: {models: [m]}\n"
    ));
}

#[test]
fn defaults_are_written_out() {
    let yaml = format!("{PROVIDER}  dialect: OpenAI\n");
    let provider: Provider = serde_yaml::from_str(&yaml).unwrap();
    insta::assert_yaml_snapshot!(provider.spec);
}

#[test]
fn a_status_is_ignored() {
    let yaml = format!("{PROVIDER}  dialect: OpenAI\nstatus: {{anything: 1}}\n");
    assert!(serde_yaml::from_str::<Provider>(&yaml).is_ok());
}

#[test]
fn a_file_may_call_the_failover_reasons_on() {
    let failover: crate::Failover = serde_yaml::from_str("on: [Connect]").unwrap();
    assert_eq!(failover.reasons, [crate::FailoverReason::Connect]);
}

/// What reading a Provider with this account says.
fn error_of_account(account: &str) -> String {
    error_of(&format!(
        "{PROVIDER}  dialect: OpenAI\n  accounts: {account}\n"
    ))
}

#[test]
fn what_looks_like_a_number_or_a_truth_value_is_no_text() {
    let route = |spec: &str| {
        error_of(&format!(
            "kind: Route\napiVersion: weighbridge.dev/v1alpha1\nmetadata: {{name: r}}\nspec: {spec}\n"
        ))
    };
    let mut told = vec![
        error_of(&format!(
            "{PROVIDER}  {{dialect: OpenAI, models: [{{name: 4.10}}]}}\n"
        )),
        error_of(&format!(
            "{PROVIDER}  {{dialect: OpenAI, endpoint: true}}\n"
        )),
        error_of(&format!(
            "{PROVIDER}  {{dialect: OpenAI, timeouts: {{connect: 2}}}}\n"
        )),
        error_of_account("[{name: null, secretRef: {name: s, key: k}}]"),
        error_of_account("[{name: a, secretRef: {name: 1, key: k}}]"),
        error_of_account("[{name: a, secretRef: {name: s, key: 1}}]"),
        error_of_account("[{name: a, secretRef: {name: s, key: k}, models: [1]}]"),
        route("{models: [4.1], targets: []}"),
        route("{models: [m], targets: [{name: 1}]}"),
    ];
    for backend in [
        "name: 1",
        "name: b, providerRef: {name: 1}",
        "name: b, providerRef: {name: p, namespace: 1}",
        "name: b, providerRef: {name: p}, model: 4.1",
        "name: b, providerRef: {name: p}, accounts: [1]",
    ] {
        told.push(route(&format!(
            "{{models: [m], targets: [{{name: t, backends: [{{{backend}}}]}}]}}"
        )));
    }
    for selector in [
        "matchLabels: {a: true}",
        "matchLabels: {1: a}",
        "matchExpressions: [{key: 1, operator: Exists}]",
        "matchExpressions: [{key: a, operator: In, values: [1]}]",
    ] {
        told.push(route(&format!(
            "{{models: [m], targets: [], allowedVirtualKeys: {{namespaces: {{from: Selector, selector: {{{selector}}}}}}}}}"
        )));
    }
    for spec in [
        "{routeRefs: [{namespace: 1, name: r}], secretName: s}",
        "{routeRefs: [{namespace: n, name: 1}], secretName: s}",
        "{routeRefs: [], secretName: 1}",
        "{routeRefs: [], secretName: s, expiresAt: 2027}",
        "{routeRefs: [], secretName: s, accounts: [{namespace: 1}]}",
        "{routeRefs: [], secretName: s, accounts: [{namespace: n, provider: 1}]}",
        "{routeRefs: [], secretName: s, accounts: [{namespace: n, provider: p, names: [1]}]}",
    ] {
        told.push(error_of(&format!(
            "kind: VirtualKey\napiVersion: weighbridge.dev/v1alpha1\nmetadata: {{name: k}}\nspec: {spec}\n"
        )));
    }
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn what_looks_like_a_number_is_text_in_quotes() {
    let yaml = format!("{PROVIDER}  {{dialect: OpenAI, models: [{{name: \"4.10\"}}]}}\n");
    let provider: Provider = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(provider.spec.models[0].name.as_str(), "4.10");
}

#[test]
fn a_number_that_is_not_whole_or_beyond_representation_is_told_its_bounds() {
    let weight = |weight: &str| {
        error_of_account(&format!(
            "[{{name: a, weight: {weight}, secretRef: {{name: s, key: k}}}}]"
        ))
    };
    let told = [
        weight("99999999999999999999"),
        weight("-99999999999999999999"),
        weight("9223372036854775808"),
        weight("\"70\""),
        weight("0.7"),
        error_of(&format!(
            "{PROVIDER}  {{dialect: OpenAI, retry: {{maxRetries: 1.5}}}}\n"
        )),
        error_of(&format!(
            "{PROVIDER}  {{dialect: OpenAI, retry: {{budget: {{percent: 20%}}}}}}\n"
        )),
    ];
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn a_label_twice_is_refused() {
    let selector = "{matchLabels: {team: research, stage: test, team: other}}";
    let error = serde_yaml::from_str::<crate::LabelSelector>(selector).unwrap_err();
    insta::assert_snapshot!(error);
}

#[test]
fn a_credential_pasted_where_its_reference_belongs_is_not_repeated() {
    let told = [
        error_of_account("[{name: a, secretRef: sk-hunter2}]"),
        error_of_account("[{name: a, secretRef: 7777777777777777777777777}]"),
        error_of_account("[{name: a, secretRef: [sk-hunter2]}]"),
        error_of_account("[sk-hunter2]"),
        error_of_account("sk-hunter2"),
        error_of_account("77777.7"),
    ];
    let told = told.join("\n");
    assert!(!told.contains("hunter2") && !told.contains("777"), "{told}");
    insta::assert_snapshot!(told);
}
