//! What nobody should send: each is a problem with a name, and none a panic.

use super::*;
use crate::problem::MAX_PROBLEMS;

#[test]
fn bodies_that_are_no_json_are_one_problem_each() {
    let deep = "[".repeat(MAX_BODY);
    let closed = "[".repeat(1000) + &"]".repeat(1000);
    let cases: [(&[u8], &str); 12] = [
        (b"", "must not be empty"),
        (b" \n\t", "must not be empty"),
        (b"\xef\xbb\xbf{}", "must not start with a byte order mark"),
        (b"{\"customer\":\"\xff\"}", "must be UTF-8"),
        (b"\xff\xfe{\0}\0", "must be UTF-8"),
        (b"\0", "must be JSON (line 1, column 1)"),
        (b"{\"customer\":", "must be JSON, but ends too early (line 1, column 12)"),
        (b"{}{}", "must be one JSON value, with nothing after it (line 1, column 3)"),
        (b"\"\\ud800\"", "must be JSON, where a \\u escape names a whole character (line 1, column 8)"),
        (b"{\"x\":1e400}", "must not hold a number beyond the range of a double (line 1, column 10)"),
        (deep.as_bytes(), "must not be nested deeper than 127 levels (line 1, column 128)"),
        (closed.as_bytes(), "must not be nested deeper than 127 levels (line 1, column 128)"),
    ];
    for (body, rule) in cases {
        for message in [plain(body.to_vec()), structured(body.to_vec())] {
            assert_eq!(invalid(&message), [Problem::body("", rule)]);
        }
    }
}

#[test]
fn a_body_of_one_mebibyte_is_read_and_a_longer_one_is_not() {
    let padded = |length: usize| EXAMPLE.to_owned() + &" ".repeat(length - EXAMPLE.len());
    valid(&plain(padded(MAX_BODY)));
    assert_eq!(invalid(&plain(padded(MAX_BODY + 1))), [Problem::body("", "must not be longer than 1 MiB")]);
}

#[test]
fn tops_that_are_no_object_are_a_problem() {
    for body in ["null", "true", "7", "\"x\"", "[]", "[{}]"] {
        for message in [plain(body), structured(body)] {
            assert_eq!(invalid(&message), [Problem::body("", "must be an object")], "{body}");
        }
    }
}

#[test]
fn numbers_of_any_length_are_passed_on() {
    let digits = "9".repeat(100_000);
    let body = EXAMPLE.replacen('{', &format!("{{\"x\":{digits}.{digits},\"y\":-0.0E-9999,"), 1);
    assert_eq!(invalid(&plain(body.clone())).len(), 1, "beyond a double");
    let body = body.replace(&format!("{digits}.{digits}"), &format!("0.{digits}"));
    assert_eq!(valid(&plain(body.clone())).request, body);
}

#[test]
fn ten_thousand_headers_change_nothing() {
    let names: Vec<String> = (0..10_000).map(|n| format!("ce-x{n}")).collect();
    let mut pairs: Vec<_> = names.iter().map(|name| (name.as_str(), long("x"))).collect();
    let event = valid(&message(EXAMPLE, Properties::default().with_headers(headers(&pairs))));
    assert_eq!(event.key, valid(&plain(EXAMPLE)).key);
    pairs.push(("ce-id", long("1")));
    assert_eq!(invalid(&message(EXAMPLE, Properties::default().with_headers(headers(&pairs)))).len(), 3);
}

#[test]
fn a_flood_of_problems_is_cut_to_what_a_header_can_hold() {
    let body = format!("[{}]", vec!["{\"id\":1,\"id\":2}"; 50_000].join(","));
    let found = invalid(&plain(body));
    assert_eq!(found.len(), MAX_PROBLEMS);
    // 50,000 repeated names and a top that is no object, less the 99 that stand before.
    assert_eq!(found[MAX_PROBLEMS - 1].rule, "there are 49902 more problems");
}

#[test]
fn repeated_names_are_never_called_for() {
    let twice = EXAMPLE.replacen("\"email\"", "\"email\": \"other@example.com\",\n    \"\\u0065mail\"", 1);
    let rule = "must not stand twice in one object";
    assert_eq!(invalid(&plain(twice.clone())), [Problem::body("/customer/email", rule)]);
    assert_eq!(
        invalid(&envelope(&format!("\"data\":{twice}"))),
        [Problem::body("/data/customer/email", rule)]
    );
    let data = envelope(&format!("\"data\":{EXAMPLE},\"data\":{EXAMPLE}"));
    assert_eq!(invalid(&data), [Problem::body("/data", rule)]);
}
