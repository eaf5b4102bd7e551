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
