//! Tests of reading, of its faults and of repeated names.

use super::*;
use crate::problem::Problem;

fn object<'a>(node: &'a Node<'a>) -> &'a Object<'a> {
    match node {
        Node::Object(object) => object,
        _ => panic!("not an object"),
    }
}

fn repeats(text: &str) -> Vec<Problem> {
    let mut problems = Problems::default();
    check_names(&parse(text).unwrap(), &Path::Root, &mut problems);
    problems.into_list()
}

#[test]
fn every_kind_of_value_is_read() {
    let node =
        parse(r#" {"n":null,"b":true,"i":-1,"f":2.5,"s":"a","e":"\u0000\n","a":[1],"o":{}} "#).unwrap();
    let get = |name| object(&node).get(name).cloned();
    assert!(get("n") == Some(Node::Null));
    assert!(get("b") == Some(Node::Bool(true)));
    assert!(get("i") == Some(Node::Number) && get("f") == Some(Node::Number));
    assert!(matches!(get("s"), Some(Node::String(Cow::Borrowed("a")))));
    assert!(matches!(get("e"), Some(Node::String(Cow::Owned(text))) if text == "\0\n"));
    assert!(get("a") == Some(Node::Array(vec![Node::Number])));
    assert!(matches!(get("o"), Some(Node::Object(_))) && get("x").is_none());
}

#[test]
fn a_name_with_an_escape_is_the_same_name() {
    let node = parse(r#"{"\u0065mail":"a"}"#).unwrap();
    assert!(object(&node).get("email").is_some());
    assert_eq!(repeats(r#"{"\u0065mail":1,"email":2}"#).len(), 1);
}

#[test]
fn a_fault_names_a_rule_and_a_place_and_shows_no_text() {
    let cases = [
        (r#"{"geoff":1,}"#, "must be JSON, which has no comma before a closing bracket (line 1, column 12)"),
        ("{\"geoff\":1}\ngeoff", "must be one JSON value, with nothing after it (line 2, column 1)"),
        ("{geoff:1}", "must be JSON, where a property's name is a string in quotes (line 1, column 2)"),
        (r#"{"geoff" 1}"#, "must be JSON (line 1, column 10)"),
        (r#"{"a":1 "geoff":1}"#, "must be JSON; a comma or a closing bracket is missing (line 1, column 8)"),
        (r#"{"a":"geoff"#, "must be JSON, but ends too early (line 1, column 11)"),
        ("\"geoff\0\"", "must be JSON, where a string holds no raw control character (line 1, column 7)"),
        (r#""\ud800geoff""#, "must be JSON, where a \\u escape names a whole character (line 1, column 8)"),
        ("[1e999]", "must not hold a number beyond the range of a double (line 1, column 6)"),
        ("\u{feff}{}", "must be JSON (line 1, column 1)"),
        ("geoff", "must be JSON (line 1, column 1)"),
    ];
    for (text, rule) in cases {
        let fault = parse(text).err().unwrap().to_string();
        assert_eq!(fault, rule, "for {text:?}");
        assert!(!fault.contains("geoff"));
    }
}

#[test]
fn nesting_ends_at_the_documented_depth() {
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    assert!(parse(&nested(MAX_DEPTH)).is_ok());
    let fault = parse(&nested(MAX_DEPTH + 1)).err().unwrap();
    assert_eq!(fault.to_string(), "must not be nested deeper than 127 levels (line 1, column 128)");
    assert!(fault.rule.contains(&MAX_DEPTH.to_string()));
    assert!(parse(&"[{\"a\":".repeat(500_000)).is_err());
}

#[test]
fn repeated_names_are_found_at_any_depth_once_each() {
    let rule = "must not stand twice in one object";
    assert_eq!(repeats(r#"{"a":{"b":1},"b":[{"a":1},{"a":2}]}"#), []);
    assert_eq!(repeats(r#"{"email":1,"email":2,"email":3}"#), [Problem::body("/email", rule)]);
    assert_eq!(
        repeats(r#"{"customer":{"x":[0,{"id":1,"id":1}]},"p":1,"p":1,"q":1,"q":1}"#),
        [Problem::body("/*", rule), Problem::body("/customer/*/1/id", rule)]
    );
}

#[test]
fn a_hundred_thousand_names_take_no_quadratic_time() {
    use std::fmt::Write as _;
    let mut text = String::from("{");
    for n in 0..100_000 {
        write!(text, "\"{n}\":0,").unwrap();
    }
    let once = text.clone() + "\"id\":0}";
    let twice = text + "\"id\":0,\"7\":0}";
    let start = tokio::time::Instant::now();
    assert_eq!(repeats(&once), []);
    assert_eq!(repeats(&twice).len(), 1);
    // Five thousand million comparisons would take minutes without optimisation.
    assert!(start.elapsed() < std::time::Duration::from_secs(10), "{:?}", start.elapsed());
}
