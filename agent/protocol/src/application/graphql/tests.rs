//! What is GraphQL, and what only looks like it.

use proptest::prelude::*;

use super::*;

fn show(asked: Option<Asked>) -> String {
    let Some(asked) = asked else {
        return "none".into();
    };
    let operations: Vec<_> = asked
        .operations
        .iter()
        .map(|operation| {
            let kind = operation.kind.map_or("?", GraphQlKind::name);
            let name = operation
                .name
                .as_ref()
                .map_or("-".into(), |name| name.escape_ascii().to_string());
            let persisted = if operation.persisted { " persisted" } else { "" };
            format!("{kind} {name}{persisted}")
        })
        .collect();
    operations.join(", ") + if asked.sure { "" } else { " perhaps" }
}

fn body(text: &str, whole: bool) -> String {
    let value = Value::of(text.as_bytes(), whole);
    show(value.and_then(|value| json(&value, &Limits::default())))
}

#[test]
fn documents() {
    let cases = [
        ("{ hero { name } }", "query -"),
        ("query { hero { name } }", "query -"),
        (
            "query Hero($id: ID! = \"x)\", $b: [Int!]) @live(if: true) { hero(id: $id) { name } }",
            "query Hero",
        ),
        (
            "mutation M { a(input: {b: [1, 2.5e-3, null], c: \"}\"}) { id } }",
            "mutation M",
        ),
        (
            "subscription OnReview($e: Episode!){review(episode:$e){stars}}",
            "subscription OnReview",
        ),
        ("# query Not\n\u{feff} , query Yes { a } ", "query Yes"),
        (
            "fragment F on T @x { a ...G } query Q { b { ...F ... on T { c } ... @include(if: $x) { d } } }",
            "query Q",
        ),
        ("query Q { small: pic(size: 64) @skip(if: $a), \"\"", "none"),
        ("{ a: b c: d(e: \"\"\"block \\\"\"\" ) \"\"\") }", "query -"),
        ("\"describes it\" query Q { a }", "query Q"),
        ("{ me { id } } { not looked at", "query -"),
        ("query query { query }", "query query"),
        ("type T { a: Int }", "none"),
        ("schema { query: Q }", "none"),
        ("fragment F on T { a }", "none"),
        ("query", "none"),
        ("query Q", "none"),
        ("querying { a }", "none"),
        ("mutation of genes", "none"),
        ("{}", "none"),
        ("{ a: 1 }", "none"),
        ("{ \"a\": 1 }", "none"),
        ("{ a b", "none"),
        ("{ a { } }", "none"),
        ("{job=\"mysql\"} |= \"error\"", "none"),
        ("rate(http_requests_total{job=\"a\"}[5m])", "none"),
        ("select * from t", "none"),
        ("MATCH (n) RETURN n", "none"),
        ("user:admin AND NOT x", "none"),
        ("{ $match: { a: 1 } }", "none"),
        ("", "none"),
        ("query Q { a } \u{1}", "query Q"),
    ];
    for (text, want) in cases {
        assert_eq!(show(document(text.as_bytes(), true)), want, "{text}");
    }
}

#[test]
fn documents_that_are_cut_off() {
    let text = "query Hero($id: ID!) @a(b: 1) { hero(id: $id) { ...F name } } fragment F on T { a }";
    let named = text.find('(').unwrap();
    for cut in named + 1..=text.len() {
        assert_eq!(
            show(document(&text.as_bytes()[..cut], false)),
            "query Hero",
            "{cut}"
        );
    }
    let anonymous = "{ hero { name } }";
    for cut in 3..anonymous.len() {
        assert_eq!(
            show(document(&anonymous.as_bytes()[..cut], false)),
            "query -",
            "{cut}"
        );
    }
    assert_eq!(
        show(document(b"mutation Uplo", false)),
        "mutation -",
        "its name is not known"
    );
    for text in ["", "que", "query", "{", "{ ", "query (", "fragment F on"] {
        let want = if text == "query (" { "query -" } else { "none" };
        assert_eq!(show(document(text.as_bytes(), false)), want, "{text}");
    }
}

#[test]
fn long_documents_are_believed_and_searched() {
    let long = "a ".repeat(200);
    let both = format!("query A {{ {long} }} mutation B {{ {long} 1 }}");
    assert_eq!(show(document(both.as_bytes(), true)), "query A");
    let named = |wanted: &str| {
        body(
            &serde_json::json!({"query": both, "operationName": wanted}).to_string(),
            true,
        )
    };
    assert_eq!(named("B"), "mutation B");
    assert_eq!(named("A"), "query A");
    assert_eq!(
        named("C"),
        "none",
        "all of it is looked at, and it is no document"
    );
}

#[test]
fn requests() {
    let cases = [
        // Apollo Client.
        (
            r#"{"operationName":"GetUser","variables":{"id":"1"},"query":"query GetUser($id: ID!) {\n  user(id: $id) {\n    name\n    __typename\n  }\n}"}"#,
            "query GetUser",
        ),
        // Apollo's persisted queries: asked for, then registered.
        (
            r#"{"operationName":"GetUser","variables":{},"extensions":{"clientLibrary":{"name":"x"},"persistedQuery":{"version":1,"sha256Hash":"ecf4edb46db40b5132295c0291d62fb65d6759a9eedfa4d5d612dd5ec54a6b38"}}}"#,
            "? GetUser persisted",
        ),
        (
            r#"{"extensions":{"persistedQuery":{"version":1,"sha256Hash":"ecf4"}},"query":"{__typename}"}"#,
            "query - persisted",
        ),
        // Relay.
        (
            r#"{"documentId":"7a1f","variables":{"first":10}}"#,
            "? - persisted",
        ),
        (
            r#"{"id":"7a1f","variables":{"first":10}}"#,
            "? - persisted perhaps",
        ),
        (
            r#"{"id":"7a1f","operationName":"Feed","variables":null}"#,
            "? Feed persisted",
        ),
        (
            r#"{"doc_id":"4128283467","variables":{}}"#,
            "? - persisted perhaps",
        ),
        (r#"{"documentId":"7a1f"}"#, "? - persisted perhaps"),
        // Several operations.
        (
            r#"{"query":"query A { a } mutation B { b }","operationName":"B"}"#,
            "mutation B",
        ),
        (r#"{"query":"query A { a } mutation B { b }"}"#, "query A"),
        (
            r#"{"query":"query A { a } mutation B { b }","operationName":"C"}"#,
            "query A",
        ),
        (
            r#"{"query":"subscription { tick }","operationName":null,"variables":null}"#,
            "subscription -",
        ),
        (r#"{"query":"\u007b a }"}"#, "query -"),
        // Batches.
        (
            r#"[{"query":"query A { a }"},{"query":"mutation B { b }"},{"extensions":{"persistedQuery":{}},"operationName":"C"}]"#,
            "query A, mutation B, ? C persisted",
        ),
        (r#"[{"query":"query A { a }"},{"query":"select 1"}]"#, "none"),
        ("[]", "none"),
        // Other APIs.
        (r#"{"query":"query"}"#, "none"),
        (r#"{"query":"how to bake bread"}"#, "none"),
        (r#"{"query":{"match_all":{}}}"#, "none"),
        (r#"{"query":""}"#, "none"),
        (r#"{"query":null,"id":1}"#, "none"),
        (r#"{"id":1,"name":"x"}"#, "none"),
        (r#"{"variables":{},"operationName":"x"}"#, "none"),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","query":"{ a }"}"#, "none"),
        (r#""query { a }""#, "none"),
        ("query { a }", "none"),
        ("", "none"),
    ];
    for (text, want) in cases {
        assert_eq!(body(text, true), want, "{text}");
    }
}

#[test]
fn requests_that_are_cut_off() {
    let apollo =
        r#"{"operationName":"GetUser","variables":{"id":"1"},"query":"query GetUser($id: ID!) {\n user"#;
    let from = apollo.find(r#","query""#).unwrap();
    for cut in from..=apollo.len() {
        let want = if cut > apollo.find("($id").unwrap() {
            "query GetUser"
        } else {
            ""
        };
        let got = body(&apollo[..cut], false);
        assert!(
            got.ends_with("GetUser") && got.starts_with(want),
            "{got}: {}",
            &apollo[..cut]
        );
    }
    assert_eq!(
        body(r#"{"query":"mutation Upload($f: Up"#, false),
        "mutation Upload"
    );
    assert_eq!(body(r#"[{"query":"query A { a }"},{"quer"#, false), "query A");
    assert_eq!(body(r#"{"operationName":"GetUs"#, false), "none");
}

#[test]
fn a_batch_has_a_limit() {
    let limits = Limits {
        operations: 3,
        ..Limits::default()
    };
    let count = |len: usize| {
        let text = format!("[{}]", vec![r#"{"query":"{a}"}"#; len].join(","));
        json(&Value::of(text.as_bytes(), true).unwrap(), &limits)
            .unwrap()
            .operations
            .len()
    };
    assert_eq!([count(2), count(3), count(4)], [2, 3, 3]);
}

#[test]
fn names_are_cut() {
    let long = "n".repeat(NAME_BYTES_MAX + 1);
    let asked = document(format!("query {long} {{ a }}").as_bytes(), true).unwrap();
    assert_eq!(asked.operations[0].name.as_ref().unwrap().len(), NAME_BYTES_MAX);
}

#[test]
fn query_strings() {
    let cases = [
        ("query=%7Bhero%7Bname%7D%7D", "query -"),
        (
            "query=query+Hero%28%24id%3A+ID%21%29%7Bhero%28id%3A%24id%29%7Bname%7D%7D&variables=%7B%7D&operationName=Hero",
            "query Hero",
        ),
        (
            "operationName=Hero&variables=%7B%7D&extensions=%7B%22persistedQuery%22%3A%7B%22version%22%3A1%2C%22sha256Hash%22%3A%22ab%22%7D%7D",
            "? Hero persisted",
        ),
        ("documentId=abc&variables=%7B%7D", "? - persisted"),
        ("documentId=abc", "? - persisted perhaps"),
        ("query=shoes", "none"),
        ("query=%7B", "none"),
        ("query=", "none"),
        ("id=1", "none"),
        ("extensions=pdf", "none"),
        ("query=%7Ba%zz%7D", "none"),
        ("", "none"),
    ];
    for (text, want) in cases {
        assert_eq!(
            show(query_string(text.as_bytes(), &Limits::default())),
            want,
            "{text}"
        );
    }
    // Of a longer one only the begin is looked at.
    let limits = Limits {
        inspect_bytes: 16,
        ..Limits::default()
    };
    assert_eq!(
        show(query_string(b"query={aaaaaaaa bbbbbbbbbbbbbbbb}", &limits)),
        "query -"
    );
}

proptest! {
    #[test]
    fn any_text_ends(text in "([{}()\\[\\]:@!$=|&\"#.\\\\ \n,]|\\.\\.\\.|query|mutation|fragment|on|[a-z]{1,3}|\"\"\"|[0-9]){0,60}", whole: bool) {
        document(text.as_bytes(), whole);
        let json = serde_json::json!({"query": text, "operationName": "a"}).to_string();
        for cut in 0..json.len() {
            body(&json[..cut.min(json.len())].chars().collect::<String>(), false);
        }
    }

    #[test]
    fn a_prefix_of_a_document_gives_its_name(cut: prop::sample::Index) {
        let text = "mutation Pay($a: Money!) { pay(a: $a, note: \"for } you\") { ok: done ... on Error { why } } }";
        let least = "mutation Pay(".len();
        let cut = least + cut.index(text.len() - least);
        prop_assert_eq!(show(document(&text.as_bytes()[..cut], false)), "mutation Pay");
    }
}
