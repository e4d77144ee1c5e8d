//! Message framing and order, as tables.

use super::script::{GET, OK, talk};

/// Turns of client and server, and the exchanges they make.
type Case = (
    &'static str,
    &'static [(&'static str, &'static str)],
    &'static [&'static str],
);

const FRAMING: &[Case] = &[
    (
        "content length",
        &[("POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", OK)],
        &["POST / 3/3 > 200 2/2"],
    ),
    (
        "content length 0",
        &[(GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), (GET, OK)],
        &["GET / > 200", "GET / > 200 2/2"],
    ),
    (
        "the same length twice",
        &[(
            GET,
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        )],
        &["GET / > 200 2/2"],
    ),
    (
        "a list of the same lengths",
        &[
            ("POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\nhello", OK),
            (GET, OK),
        ],
        &["POST / 5/5 > 200 2/2", "GET / > 200 2/2"],
    ),
    (
        "lengths that differ",
        &[
            (
                "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
                OK,
            ),
            (GET, OK),
        ],
        &["POST / 5/0 > 200 2/2 truncated", "GET / > 200 2/2"],
    ),
    (
        "a response's lengths that differ",
        &[
            (GET, "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok"),
            (GET, OK),
        ],
        &["GET / > 200 2/0 truncated", "GET / > 200 2/2"],
    ),
    (
        "a length that is no number",
        &[("POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\nhello", OK)],
        &["POST / 5/0 > 200 2/2 truncated"],
    ),
    (
        "a length beyond 64 bits",
        &[(
            "POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n",
            OK,
        )],
        &["POST / > 200 2/2 truncated"],
    ),
    (
        "chunked",
        &[(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            OK,
        )],
        &["POST / 13/3 > 200 2/2"],
    ),
    (
        "chunk extensions, white space, leading zeros, capitals",
        &[(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n000A ; a=\"b\"\r\n0123456789\r\n0;x\r\n\r\n",
            OK,
        )],
        &["POST / 33/10 > 200 2/2"],
    ),
    (
        "chunked with bare LF",
        &[(
            "POST / HTTP/1.1\nTransfer-Encoding: chunked\n\n3\nabc\n0\n\n",
            "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        )],
        &["POST / 9/3 > 200 2/2"],
    ),
    (
        "Chunked in capitals",
        &[(
            "POST / HTTP/1.1\r\nTRANSFER-ENCODING: gzip, Chunked\r\n\r\n0\r\n\r\n",
            OK,
        )],
        &["POST / 5/0 > 200 2/2"],
    ),
    (
        "chunked wins over a length",
        &[
            (
                "POST / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                OK,
            ),
            (GET, OK),
        ],
        &["POST / 5/0 > 200 2/2", "GET / > 200 2/2"],
    ),
    (
        "identity says nothing",
        &[
            (
                GET,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 2\r\n\r\nok",
            ),
            (GET, OK),
        ],
        &["GET / > 200 2/2", "GET / > 200 2/2"],
    ),
    (
        "a request's coding that is not chunked at last",
        &[
            (
                "POST / HTTP/1.1\r\nTransfer-Encoding: chunked, gzip\r\n\r\nabc",
                "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n",
            ),
            (GET, OK),
        ],
        &["POST / 3/0 > 400 truncated", "GET / > 200 2/2"],
    ),
    (
        "a response's coding that is not chunked",
        &[(GET, "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc")],
        &["GET / > 200 3/3"],
    ),
    (
        "a response until the end",
        &[(GET, "HTTP/1.1 200 OK\r\n\r\nhello")],
        &["GET / > 200 5/5"],
    ),
    (
        "HTTP/1.0 until the end",
        &[("GET / HTTP/1.0\r\n\r\n", "HTTP/1.0 200 OK\r\n\r\nhello")],
        &["GET / > 200 5/5"],
    ),
    (
        "HTTP/1.0 kept alive",
        &[
            (
                "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
                "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\na",
            ),
            (
                "GET /b HTTP/1.0\r\n\r\n",
                "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nb",
            ),
        ],
        &["GET /a > 200 1/1", "GET /b > 200 1/1"],
    ),
    (
        "HEAD has no body",
        &[
            (
                "HEAD / HTTP/1.1\r\n\r\n",
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n",
            ),
            (GET, OK),
        ],
        &["HEAD / > 200", "GET / > 200 2/2"],
    ),
    (
        "204 has no body",
        &[
            (GET, "HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n"),
            (GET, OK),
        ],
        &["GET / > 204", "GET / > 200 2/2"],
    ),
    (
        "304 has no body",
        &[(GET, "HTTP/1.1 304 Not\r\nContent-Length: 9\r\n\r\n"), (GET, OK)],
        &["GET / > 304", "GET / > 200 2/2"],
    ),
    (
        "a chunk size that is none",
        &[
            ("POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n", OK),
            (GET, OK),
        ],
        &["POST / 5/0 > 200 2/2 truncated", "GET / > 200 2/2"],
    ),
    (
        "a chunk size beyond 64 bits",
        &[(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n10000000000000000\r\n",
            OK,
        )],
        &["POST / 19/0 > 200 2/2 truncated"],
    ),
    (
        "a chunk longer than it says",
        &[(
            "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n0\r\n\r\n",
            OK,
        )],
        &["POST / 13/2 > 200 2/2 truncated"],
    ),
    (
        "a body cut by the end",
        &[("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", "")],
        &["POST / 3/3 > truncated unpaired"],
    ),
    (
        "a chunked response cut by the end",
        &[(
            GET,
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        )],
        &["GET / > 200 5/2 truncated"],
    ),
];

const MESSAGES: &[Case] = &[
    (
        "pipelining",
        &[
            (
                "GET /a HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\n\r\nGET /c HTTP/1.1\r\n\r\n",
                "HTTP/1.1 204 A\r\n\r\nHTTP/1.1 404 B\r\nContent-Length: 1\r\n\r\nx",
            ),
            ("", "HTTP/1.1 500 C\r\nContent-Length: 0\r\n\r\n"),
        ],
        &["GET /a > 204", "GET /b > 404 1/1", "GET /c > 500"],
    ),
    (
        "100 Continue",
        &[
            (
                "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n",
                "HTTP/1.1 100 Continue\r\n\r\n",
            ),
            ("abc", OK),
        ],
        &["POST / 3/3 > 200 2/2"],
    ),
    (
        "103 and 102",
        &[(
            GET,
            "HTTP/1.1 103 Early\r\nLink: a\r\n\r\nHTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        )],
        &["GET / > 200"],
    ),
    (
        "an answer before the body is complete",
        &[
            (
                "POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc",
                "HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n",
            ),
            ("def", ""),
            (GET, OK),
        ],
        &["POST / 6/6 > 413", "GET / > 200 2/2"],
    ),
    (
        "an answer that ends a body",
        &[(
            "POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabc",
            "HTTP/1.1 413 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
        )],
        &["POST / 3/3 > 413 truncated"],
    ),
    (
        "empty lines before messages",
        &[
            ("\r\n\r\nGET /a HTTP/1.1\r\n\r\n\r\n", OK),
            ("\nGET /b HTTP/1.1\n\n", OK),
        ],
        &["GET /a > 200 2/2", "GET /b > 200 2/2"],
    ),
    (
        "an own method",
        &[(
            "brew-x /pot HTTP/1.1\r\n\r\n",
            "HTTP/1.1 418 Teapot\r\nContent-Length: 0\r\n\r\n",
        )],
        &["brew-x /pot > 418"],
    ),
    (
        "the forms of a target",
        &[
            ("OPTIONS * HTTP/1.1\r\n\r\n", "HTTP/1.1 204\r\n\r\n"),
            ("GET http://a/b?c HTTP/1.1\r\n\r\n", "HTTP/1.1 204 \r\n\r\n"),
        ],
        &["OPTIONS * > 204", "GET http://a/b?c > 204"],
    ),
    (
        "odd bytes in a target",
        &[("GET /\"<\u{e9}>|{} HTTP/1.1\r\nHost: a\r\n\r\n", OK)],
        &["GET /\\\"<\\xc3\\xa9>|{} > 200 2/2"],
    ),
    (
        "a request without an answer",
        &[(GET, OK), (GET, "")],
        &["GET / > 200 2/2", "GET / > unpaired"],
    ),
    (
        "CONNECT that is refused",
        &[
            (
                "CONNECT a:443 HTTP/1.1\r\n\r\n",
                "HTTP/1.1 407 No\r\nContent-Length: 1\r\n\r\nx",
            ),
            (GET, OK),
        ],
        &["CONNECT a:443 > 407 1/1", "GET / > 200 2/2"],
    ),
    (
        "an Upgrade that is ignored",
        &[
            (
                "GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
                OK,
            ),
            (GET, OK),
        ],
        &["GET / > 200 2/2", "GET / > 200 2/2"],
    ),
    (
        "a malformed request",
        &[
            (GET, OK),
            (
                "nonsense\r\n\r\n",
                "HTTP/1.1 400 Bad\r\nContent-Length: 0\r\n\r\n",
            ),
            (GET, OK),
        ],
        &["GET / > 200 2/2", "GET / > 200 2/2"],
    ),
    (
        "a malformed response",
        &[(GET, "nonsense\r\n\r\n"), ("GET /b HTTP/1.1\r\n\r\n", OK)],
        &["GET / > gap unpaired", "GET /b > 200 2/2"],
    ),
    (
        "PROXY ahead",
        &[("PROXY TCP4 1.2.3.4 5.6.7.8 9 80\r\nGET / HTTP/1.1\r\n\r\n", OK)],
        &["GET / > 200 2/2"],
    ),
];

#[test]
fn tables() {
    for (name, turns, want) in FRAMING.iter().chain(MESSAGES) {
        assert_eq!(talk(turns).end().play().lines(), *want, "{name}");
    }
}
