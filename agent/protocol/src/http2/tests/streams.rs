//! Streams side by side: opened by either side, reset, refused.

use super::talk::{OK, Turn, check, talk};
use super::wire::{
    END_HEADERS, END_STREAM, WHOLE, concat, data, get, goaway, headers, post, promise, reset, window,
};

#[test]
fn streams_are_told_apart() {
    let script = talk(&[(
        concat(&[
            headers(END_HEADERS, 1, &post("/a")),
            headers(WHOLE, 3, &get("/b")),
            data(0, 1, "1"),
            headers(END_HEADERS, 5, &post("/c")),
            data(END_STREAM, 5, "55555"),
            data(END_STREAM, 1, "11"),
        ]),
        concat(&[
            headers(END_HEADERS, 5, ":status=205"),
            headers(END_HEADERS, 3, ":status=203"),
            data(0, 3, "333"),
            headers(WHOLE, 1, ":status=201"),
            data(END_STREAM, 5, "5"),
            data(END_STREAM, 3, "3"),
        ]),
    )]);
    let want = [
        "1 POST /a 21/3 > 201",
        "3 GET /b > 203 22/4",
        "5 POST /c 14/5 > 205 10/1",
    ];
    check(&script, &want);
    // Out as they end.
    assert_eq!(script.early(), [want[0], want[2], want[1]]);
}

#[test]
fn resets() {
    let request = || headers(END_HEADERS, 1, &post("/"));
    let whole = || headers(WHOLE, 1, &get("/"));
    let answer = || headers(END_HEADERS, 1, OK);
    let none = Vec::new;
    let cases: &[(&str, Vec<Turn>, &str)] = &[
        (
            "cancelled before any answer",
            vec![(whole(), none()), (reset(1, 8), none())],
            "1 GET / > unpaired",
        ),
        (
            "cancelled while asking",
            vec![(request(), none()), (reset(1, 8), none())],
            "1 POST / > truncated unpaired",
        ),
        (
            "cancelled while answered",
            vec![(whole(), answer()), (reset(1, 8), data(0, 1, "on its way"))],
            "1 GET / > 200 19/10 truncated",
        ),
        (
            "answered all the same",
            vec![(whole(), answer()), (reset(1, 8), data(END_STREAM, 1, "x"))],
            "1 GET / > 200 10/1",
        ),
        ("refused", vec![(whole(), reset(1, 7))], "1 GET / > unpaired"),
        (
            "answered and cut",
            vec![(whole(), concat(&[answer(), data(0, 1, "x"), reset(1, 2)]))],
            "1 GET / > 200 10/1 truncated",
        ),
        (
            "answered early",
            vec![
                (
                    concat(&[request(), data(0, 1, "xyz")]),
                    concat(&[headers(WHOLE, 1, ":status=413"), reset(1, 0)]),
                ),
                (data(0, 1, "on its way"), none()),
            ],
            "1 POST / 31/13 > 413",
        ),
        (
            "answered early and broken",
            vec![(
                request(),
                concat(&[headers(WHOLE, 1, ":status=413"), reset(1, 2)]),
            )],
            "1 POST / > 413 truncated",
        ),
        (
            "gave up after the answer",
            vec![(request(), headers(WHOLE, 1, OK)), (reset(1, 8), none())],
            "1 POST / > 200 truncated",
        ),
    ];
    for (name, turns, want) in cases {
        let script = talk(turns);
        println!("{name}");
        check(&script, &[want]);
        // A second later the connection shows that nothing more comes.
        let later = script.wait(2_000_000_000).client(window(0)).server(window(0));
        assert_eq!(later.early(), [*want], "{name}");
    }
}

#[test]
fn goaway_refuses_streams() {
    let ask = |stream| headers(WHOLE, stream, &get("/"));
    let script = talk(&[
        (
            concat(&[ask(1), ask(3)]),
            concat(&[goaway(0x7fff_ffff), goaway(1)]),
        ),
        (ask(5), headers(WHOLE, 1, OK)),
    ]);
    let played = check(
        &script,
        &["1 GET / > 200", "3 GET / > unpaired", "5 GET / > unpaired"],
    );
    assert_eq!(played.counters.goaways, 2);
    let later = script.wait(2_000_000_000).server(window(0));
    assert_eq!(later.early().len(), 3);
}

#[test]
fn push() {
    let script = talk(&[(
        headers(WHOLE, 1, &get("/")),
        concat(&[
            promise(1, 2, &get("/style")),
            headers(END_HEADERS, 1, OK),
            headers(END_HEADERS, 2, OK),
            data(END_STREAM, 1, "page"),
            data(END_STREAM, 2, "style"),
        ]),
    )]);
    let played = check(&script, &["1 GET / > 200 13/4", "2 GET /style > 200 14/5"]);
    assert_eq!(played.exchanges[1].index, 1 << 32);
    assert_eq!(played.counters.pushes, 1);
}
