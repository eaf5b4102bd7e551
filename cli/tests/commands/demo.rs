//! `demo`: starts, answers, shows the traffic, ends.

use super::http;
use super::program::Program;

const ANYWHERE: [&str; 5] = ["demo", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0"];

fn token(demo: &mut Program) -> String {
    let line = demo.line("key ");
    line.split_whitespace().last().unwrap().to_owned()
}

#[test]
fn shows_an_exact_split_of_its_own_requests() {
    let mut demo = Program::start(&[&ANYWHERE[..], &["--requests", "20"]].concat());
    let told = demo.line("all requests are answered");
    assert!(told.ends_with("20 x 200"), "{told}");
    let traffic = demo.line("traffic:");
    assert!(
        traffic.contains("openai/research 14 (70.0 %")
            && traffic.contains("openai/production 6 (30.0 %"),
        "{traffic}"
    );
    demo.signal("TERM");
    let (code, lines) = demo.ended();
    assert_eq!(
        (code, lines.last().map(String::as_str)),
        (Some(0), Some("ended"))
    );
}

#[test]
fn what_it_says_to_try_works() {
    let mut demo = Program::start(&ANYWHERE);
    let address = demo.address();
    let token = token(&mut demo);
    let file = demo
        .line("files ")
        .split_whitespace()
        .nth(1)
        .unwrap()
        .to_owned();
    assert_eq!(http::chat(address, &token, "demo").status, 200);

    let authorization = format!("Bearer {token}");
    let headers = [
        ("authorization", authorization.as_str()),
        ("content-type", "application/json"),
    ];
    let body =
        r#"{"model": "demo", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}"#;
    let stream = http::send(address, "POST", "/v1/chat/completions", &headers, body);
    assert!(stream.body.contains("data: [DONE]"), "{}", stream.body);

    // The third: the command as it is printed, without the shell.
    let put = demo.line("curl -X PUT http://");
    let (_, rest) = put.split_once("http://").unwrap();
    let provider = rest.split('/').next().unwrap().parse().unwrap();
    let (_, first) = put.split_once("-d '").unwrap();
    let second = demo.line("429");
    let third = demo.line("cut");
    let faults = format!(
        "{first}\n{second}\n{}",
        third.trim_end().trim_end_matches('\'')
    );
    assert_eq!(
        http::send(provider, "PUT", "/_mock/faults", &[], &faults).status,
        204
    );
    for _ in 0..5 {
        let answer = http::chat(address, &token, "demo");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["x-weighbridge-provider"], "default/backup");
    }
    demo.signal("INT");
    assert_eq!(demo.ended().0, Some(0));
    assert!(
        !std::path::Path::new(&file).exists(),
        "the folder is removed"
    );
}
