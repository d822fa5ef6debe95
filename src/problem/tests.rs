//! Tests of the list's bounds and of the gate for names.

use super::*;

#[test]
fn a_path_is_a_json_pointer_with_stars_for_names_that_are_not_documented() {
    let customer = Path::Root.name("customer");
    let foreign = customer.name("ralph@example.com");
    let third = foreign.index(2);
    assert_eq!(Path::Root.to_string(), "");
    assert_eq!(customer.name("imin:is13OrOver").to_string(), "/customer/imin:is13OrOver");
    assert_eq!(third.name("email").to_string(), "/customer/*/2/email");
}

#[test]
fn a_list_within_the_bounds_is_whole() {
    let mut problems = Problems::default();
    assert!(problems.is_empty());
    for _ in 0..MAX_PROBLEMS {
        problems.header("ce-id", "is required");
    }
    assert!(!problems.is_empty());
    let list = problems.into_list();
    assert_eq!(list, vec![Problem::header("ce-id", "is required"); MAX_PROBLEMS]);
}

#[test]
fn a_longer_list_is_cut_and_says_how_many_are_left_out() {
    let mut problems = Problems::default();
    for _ in 0..100_000 {
        problems.property("type", "must be CreateCustomer");
    }
    let list = problems.into_list();
    assert_eq!(list.len(), MAX_PROBLEMS);
    assert_eq!(list.last(), Some(&Problem::body("", "there are 99901 more problems")));
}

#[test]
fn long_pointers_cannot_outgrow_a_frame() {
    fn nest(path: &Path<'_>, levels: usize, problems: &mut Problems) {
        problems.body(path, "must not stand twice in one object");
        if levels > 0 {
            nest(&path.name("emergencyContact"), levels - 1, problems);
        }
    }
    let mut problems = Problems::default();
    nest(&Path::Root, 127, &mut problems);
    let list = problems.into_list();
    let text = serde_json::to_string(&list).unwrap();
    assert!(text.len() < 2 * MAX_PROBLEM_BYTES, "{} bytes", text.len());
    assert_eq!(list.last().unwrap().rule, format!("there are {} more problems", 128 - (list.len() - 1)));
}

#[test]
fn a_problem_is_written_in_three_words() {
    let text = serde_json::to_string(&Problem::body("/customer/email", "is required")).unwrap();
    assert_eq!(text, r#"{"in":"body","pointer":"/customer/email","rule":"is required"}"#);
}
