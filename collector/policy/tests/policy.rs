//! Policy texts in, typed policies, errors and remarks out.

use policy::{
    BODY_BYTES_MAX, CALLS_PER_SECOND_MAX, CallRate, CaptureMode, CapturePolicy, FILTERS_MAX, HEADERS_MAX,
    LintLevel, POLICY_BYTES_MAX, Subject,
};

#[test]
fn empty_text_is_the_default() {
    let policy = CapturePolicy::parse("").unwrap();
    assert_eq!(policy, CapturePolicy::default());
    assert_eq!(policy.calls.budget, CallRate::PerSecond(50));
    assert_eq!(policy.capture.mode, CaptureMode::Full);
    assert_eq!(policy.capture.body_bytes.get(), 0);
    assert!(policy.filter.captures(&Subject::default()));
    assert_eq!(policy.lint(), []);
}

#[test]
fn everything_set_and_back() {
    let text = r#"
        calls = { budget = "unlimited", error_share = 0.125, rare_share = 0 }
        [headers]
        request = ["Content-Type", "x-request-*"]
        response = []
        [capture]
        mode = "headers"
        body_bytes = 1048576
        decay = false
        [[filter.exclude]]
        executable = "curl"
        port = 65535
        [[filter.include]]
        container = "3f4e5d6c7b8a"
        cgroup = "/kubepods/*"
    "#;
    let policy = CapturePolicy::parse(text).unwrap();
    assert_eq!(policy.calls.budget, CallRate::Unlimited);
    assert!(policy.headers.request.allows("content-type"));
    assert!(policy.headers.request.allows("X-Request-Id"));
    assert!(!policy.headers.request.allows("user-agent"));
    assert_eq!(policy.headers.response.entries().len(), 0);
    assert_eq!(policy.capture.decay, Some(false));
    assert_eq!(policy.filter.exclude[0].port, Some(65535));
    assert_eq!(CapturePolicy::parse(&policy.to_toml()).unwrap(), policy);
}

#[test]
fn default_round_trip() {
    let text = CapturePolicy::default().to_toml();
    assert!(text.contains("budget = 50"), "{text}");
    // What it leaves to each node is not in it.
    assert!(!text.contains("decay"), "{text}");
    assert_eq!(CapturePolicy::parse(&text).unwrap(), CapturePolicy::default());
}

#[test]
fn the_documented_example_is_valid() {
    let source = include_str!("../src/capture_policy.rs");
    let example: String = source
        .lines()
        .skip_while(|line| *line != "/// ```toml")
        .skip(1)
        .take_while(|line| *line != "/// ```")
        .map(|line| format!("{}\n", line.trim_start_matches("///")))
        .collect();
    let policy = CapturePolicy::parse(&example).unwrap();
    assert_eq!(policy.calls, CapturePolicy::default().calls);
    assert_eq!(policy.filter.exclude.len(), 2);
}

#[test]
fn errors_name_place_key_cause_and_remedy() {
    for (text, line, column, key, parts) in [
        (
            "[calls]\nbugdet = 1",
            2,
            1,
            "calls.bugdet",
            &["unknown field `bugdet`", "budget", "spelling"][..],
        ),
        (
            "[cals]\nbudget = 1",
            1,
            2,
            "cals",
            &["unknown field `cals`", "spelling"],
        ),
        (
            "\n[calls]\nbudget = \"lots\"",
            3,
            10,
            "calls.budget",
            &["\"lots\"", "unlimited", "rows per second"],
        ),
        (
            "calls.budget = -1",
            1,
            16,
            "calls.budget",
            &["-1", "rows per second from 0", "correct the value"],
        ),
        (
            "calls.error_share = 1.5",
            1,
            21,
            "calls.error_share",
            &["1.5", "from 0 to 1"],
        ),
        (
            "calls.error_share = nan",
            1,
            21,
            "calls.error_share",
            &["NaN", "from 0 to 1"],
        ),
        (
            "[calls]\nerror_share = 0.7\nrare_share = 0.7",
            1,
            1,
            "calls",
            &["add up to 1.4", "lower one"],
        ),
        (
            "[headers]\nrequest = [\n  \"accept\",\n  \"Authorization\",\n]",
            4,
            3,
            "headers.request[1]",
            &["credentials", "remove it"],
        ),
        (
            "headers.response = [\"set-cookie\"]",
            1,
            21,
            "headers.response[0]",
            &["\"set-cookie\"", "never leave a node"],
        ),
        (
            "[capture]\nbody_bytes = 1048577",
            2,
            14,
            "capture.body_bytes",
            &["1048577", "at most 1048576"],
        ),
        (
            "[capture]\nmode = \"some\"",
            2,
            8,
            "capture.mode",
            &["some", "full", "headers"],
        ),
        (
            "[filter]\nexclude = [{ port = 1 }, { port = 0 }]",
            2,
            26,
            "filter.exclude[1]",
            &["port 0", "1 to 65535"],
        ),
        (
            "[filter]\nexclude = [{ port = 65536 }]",
            2,
            21,
            "filter.exclude[0].port",
            &["65536"],
        ),
        (
            "[filter]\ninclude = [{}]",
            2,
            12,
            "filter.include[0]",
            &["names nothing", "at least one of"],
        ),
        (
            "[filter]\ninclude = [{ pod = \"a\" }]",
            2,
            14,
            "filter.include[0].pod",
            &["unknown field `pod`"],
        ),
        (
            "[[filter.exclude]]\nexecutable = \"\"",
            2,
            14,
            "filter.exclude[0].executable",
            &["empty pattern", "leave the key out"],
        ),
        ("# é\n[calls\n", 2, 7, "", &["not valid TOML", "correct the line"]),
        ("calls = 3", 1, 9, "calls", &["invalid type", "correct the value"]),
    ] {
        let error = CapturePolicy::parse(text).unwrap_err();
        assert_eq!(
            (error.line, error.column, error.key.as_str()),
            (line, column, key),
            "{text:?}: {error}"
        );
        for part in parts {
            assert!(
                error.message.contains(part),
                "{part:?} not in {:?}",
                error.message
            );
        }
        assert!(
            error
                .to_string()
                .starts_with(&format!("line {line}, column {column}")),
            "{error}"
        );
    }
}

#[test]
fn limits_hold_at_their_edge() {
    let budget = |rows: u32| CapturePolicy::parse(&format!("calls.budget = {rows}"));
    assert!(budget(CALLS_PER_SECOND_MAX).is_ok());
    assert!(budget(CALLS_PER_SECOND_MAX + 1).is_err());
    let body = |bytes: u32| CapturePolicy::parse(&format!("capture.body_bytes = {bytes}"));
    assert!(body(BODY_BYTES_MAX).is_ok());
    assert!(body(BODY_BYTES_MAX + 1).is_err());
    let headers =
        |count: usize| CapturePolicy::parse(&format!("headers.request = [{}]", "'accept',".repeat(count)));
    assert!(headers(HEADERS_MAX).is_ok());
    assert_eq!(headers(HEADERS_MAX + 1).unwrap_err().key, "headers.request");
    let filters =
        |count: usize| CapturePolicy::parse(&format!("filter.exclude = [{}]", "{port=1},".repeat(count)));
    assert!(filters(FILTERS_MAX).is_ok());
    assert_eq!(filters(FILTERS_MAX + 1).unwrap_err().key, "filter");
    assert!(CapturePolicy::parse(&" ".repeat(POLICY_BYTES_MAX)).is_ok());
    assert!(
        CapturePolicy::parse(&" ".repeat(POLICY_BYTES_MAX + 1))
            .unwrap_err()
            .message
            .contains("shorten")
    );
}

#[test]
fn hostile_texts_are_refused_without_harm() {
    for text in [
        "[".repeat(100_000),
        format!("a = {}", "[".repeat(100_000)),
        format!("a = {}", "{a=".repeat(100_000)),
        "a.".repeat(100_000),
        "\u{feff}\0\u{7f}".to_owned(),
        "calls = {\r".to_owned(),
    ] {
        assert!(CapturePolicy::parse(&text).is_err());
    }
}

#[test]
fn lints() {
    use LintLevel::{Note, Warning};
    for (text, level, key, part) in [
        (
            "calls.budget = \"unlimited\"",
            Note,
            "calls.budget",
            "grows with the traffic",
        ),
        ("calls.budget = 0", Warning, "calls.budget", "only counts"),
        (
            "calls = { error_share = 0.5, rare_share = 0.5 }",
            Warning,
            "calls.rare_share",
            "lower a share",
        ),
        (
            "headers.request = [\"x-*\"]",
            Warning,
            "headers.request[0]",
            "nobody has looked at",
        ),
        (
            "headers.response = [\"*\"]",
            Warning,
            "headers.response[0]",
            "nobody has looked at",
        ),
        (
            "headers.request = [\"referer\"]",
            Warning,
            "headers.request[0]",
            "query values",
        ),
        (
            "headers.request = [\"accept\", \"Accept\"]",
            Note,
            "headers.request[1]",
            "earlier entry",
        ),
        (
            "capture.body_bytes = 1",
            Warning,
            "capture.body_bytes",
            "users' data",
        ),
        (
            "capture = { body_bytes = 1, mode = \"headers\" }",
            Warning,
            "capture.body_bytes",
            "no effect",
        ),
        (
            "filter.exclude = [{ executable = \"*\" }]",
            Warning,
            "filter.exclude[0]",
            "nothing is captured",
        ),
        (
            "filter.include = [{ cgroup = \"*\" }]",
            Note,
            "filter.include[0]",
            "matches everything",
        ),
        (
            "filter.include = [{ port = 1 }, { port = 1 }]",
            Note,
            "filter.include[1]",
            "filter.include[0] already",
        ),
        (
            "filter = { exclude = [{ port = 80 }], include = [{ executable = \"nginx\", port = 80 }] }",
            Warning,
            "filter.include[0]",
            "filter.exclude[0] excludes all of it",
        ),
        (
            "filter.include = [{ executable = \"bin/x\" }]",
            Warning,
            "filter.include[0].executable",
            "start with /",
        ),
        (
            "filter.include = [{ container = \"web-1\" }]",
            Warning,
            "filter.include[0].container",
            "hexadecimal",
        ),
        (
            "filter.exclude = [{ cgroup = \"system.slice\" }]",
            Warning,
            "filter.exclude[0].cgroup",
            "start with /",
        ),
    ] {
        let lints = CapturePolicy::parse(text).unwrap().lint();
        let found = lints
            .iter()
            .find(|lint| lint.key == key && lint.message.contains(part));
        assert_eq!(found.map(|lint| lint.level), Some(level), "{text}: {lints:?}");
    }
}

/// Every cut of a valid text, and every character of it replaced: an error has its place within the text, and none panics.
#[test]
fn damaged_texts_have_errors_in_their_text() {
    let filters = "exclude = [{ executable = \"é*\", port = 80 }]";
    let whole = CapturePolicy::default()
        .to_toml()
        .replace("exclude = []", filters);
    assert!(whole.contains(filters));
    CapturePolicy::parse(&whole).unwrap();
    let mut refused = 0;
    for (at, character) in whole.char_indices() {
        let (before, rest) = whole.split_at(at);
        let after = &rest[character.len_utf8()..];
        for text in [
            before.to_owned(),
            format!("{before}{after}"),
            format!("{before}é{after}"),
            format!("{before}]{after}"),
        ] {
            if let Err(error) = CapturePolicy::parse(&text) {
                refused += 1;
                assert!(
                    error.line >= 1 && error.line <= text.split('\n').count(),
                    "{error}"
                );
                assert!(error.column >= 1 && error.message.contains("; "), "{error}");
            }
        }
    }
    assert!(refused > 500, "{refused}");
}
