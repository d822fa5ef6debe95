//! What a row says of the next intent, in every state, by table and by chance.

use super::*;

const AT: i64 = 1_000;

fn me() -> Uuid {
    Uuid::from_u128(1)
}

fn scene() -> Scene<'static> {
    // Instance 2 lives, every other one is dead.
    Scene { instance: me(), at: AT, living: &|owner| owner == Uuid::from_u128(2) }
}

fn key() -> EventKey {
    EventKey(Uuid::from_u128(7))
}

fn intent() -> Intent {
    Intent { key: key(), attempt: 3, despite_unknown: false, not_created: None }
}

fn row(state: State) -> Row {
    Row { state, attempt: 2, at: 1, possible_duplicate: false, words: Vec::new() }
}

fn account() -> Account {
    Account { identifier: "abc".to_owned(), id: Some("https://example.com/abc".to_owned()) }
}

const GO: Begun = Begun::Go { possible_duplicate: false };
const GO_DESPITE: Begun = Begun::Go { possible_duplicate: true };

#[test]
fn a_new_event_may_go_and_leaves_a_row() {
    let (begun, change) = begin(None, &intent(), &scene());
    assert_eq!(begun, GO);
    let attempting = Row { attempt: 3, at: AT, ..row(State::Attempting(me())) };
    assert_eq!(change, Change::Put(attempting));
}

#[test]
fn an_open_attempt_is_held_in_doubt_or_never_called() {
    let held = row(State::Attempting(Uuid::from_u128(2)));
    assert_eq!(begin(Some(&held), &intent(), &scene()), (Begun::Held, Change::Keep));

    let dead = row(State::Attempting(Uuid::from_u128(3)));
    let (begun, change) = begin(Some(&dead), &intent(), &scene());
    assert_eq!(begun, Begun::Unknown);
    assert_eq!(change, Change::Put(Row { at: AT, possible_duplicate: true, ..row(State::Unknown) }));
    let despite = Intent { despite_unknown: true, ..intent() };
    assert_eq!(begin(Some(&dead), &despite, &scene()).0, GO_DESPITE);

    let mine = row(State::Attempting(me()));
    assert_eq!(begin(Some(&mine), &intent(), &scene()).0, GO);
    let doubted = Row { possible_duplicate: true, ..mine };
    assert_eq!(begin(Some(&doubted), &intent(), &scene()).0, Begun::Unknown);
}

#[test]
fn a_word_clears_a_doubt_once() {
    let unknown = Row { possible_duplicate: true, ..row(State::Unknown) };
    let word = Uuid::from_u128(9);
    let with_word = Intent { not_created: Some(word), ..intent() };
    let (begun, change) = begin(Some(&unknown), &with_word, &scene());
    assert_eq!(begun, GO);
    let Change::Put(after) = change else { panic!("no row") };
    assert_eq!((after.words.as_slice(), after.possible_duplicate), ([word].as_slice(), false));

    let again = Row { state: State::Unknown, possible_duplicate: true, ..after };
    assert_eq!(begin(Some(&again), &with_word, &scene()), (Begun::Unknown, Change::Keep));
    let despite = Intent { despite_unknown: true, ..with_word };
    assert_eq!(begin(Some(&again), &despite, &scene()).0, GO_DESPITE);
    let other = Intent { not_created: Some(Uuid::from_u128(10)), ..intent() };
    assert_eq!(begin(Some(&again), &other, &scene()).0, GO);
}

#[test]
fn a_settled_row_says_so_whatever_the_word() {
    let with_word = Intent { not_created: Some(Uuid::from_u128(9)), despite_unknown: true, ..intent() };
    for possible_duplicate in [false, true] {
        let unusable = Row { possible_duplicate, ..row(State::Unusable) };
        let begun = Begun::Unusable { possible_duplicate };
        assert_eq!(begin(Some(&unusable), &with_word, &scene()), (begun, Change::Keep));
    }
    let created = Row { possible_duplicate: true, ..row(State::Created(account(), true)) };
    let recorded = Recorded { account: account(), published: true, possible_duplicate: true };
    assert_eq!(begin(Some(&created), &with_word, &scene()), (Begun::Created(recorded), Change::Keep));
}

#[test]
fn created_stands_over_anything_but_created() {
    let how = Finish::Created(account());
    let settled = Row { attempt: 0, at: AT, ..row(State::Created(account(), false)) };
    assert_eq!(finish(None, &how, &scene()), Change::Put(settled));
    for state in [State::Attempting(Uuid::from_u128(2)), State::Unknown, State::Unusable, State::Idle] {
        let before = Row { possible_duplicate: true, ..row(state) };
        let after = Row { state: State::Created(account(), false), at: AT, ..before.clone() };
        assert_eq!(finish(Some(&before), &how, &scene()), Change::Put(after));
    }
    let Change::Put(own) = finish(Some(&row(State::Attempting(me()))), &how, &scene()) else {
        panic!("no row")
    };
    let Change::Put(others) = finish(Some(&row(State::Attempting(Uuid::nil()))), &how, &scene()) else {
        panic!("no row")
    };
    assert_eq!((own.possible_duplicate, others.possible_duplicate), (false, true));
    let other = Account { identifier: "other".to_owned(), id: None };
    assert_eq!(finish(Some(&row(State::Created(other, true))), &how, &scene()), Change::Keep);
}

#[test]
fn nothing_made_leaves_what_was_there_before() {
    let mine = row(State::Attempting(me()));
    assert_eq!(finish(Some(&mine), &Finish::NothingMade, &scene()), Change::Delete);
    let worded = Row { words: vec![Uuid::from_u128(9)], ..mine.clone() };
    let idle = Row { state: State::Idle, at: AT, ..worded.clone() };
    assert_eq!(finish(Some(&worded), &Finish::NothingMade, &scene()), Change::Put(idle));
    let doubted = Row { possible_duplicate: true, ..mine };
    let unknown = Row { state: State::Unknown, at: AT, ..doubted.clone() };
    assert_eq!(finish(Some(&doubted), &Finish::NothingMade, &scene()), Change::Put(unknown));
}

#[test]
fn only_the_owners_attempt_can_come_to_nothing_or_to_doubt() {
    let others = [State::Attempting(Uuid::from_u128(2)), State::Unknown, State::Idle, State::Unusable];
    for state in others {
        for how in [Finish::NothingMade, Finish::Unknown] {
            assert_eq!(finish(Some(&row(state.clone())), &how, &scene()), Change::Keep, "{state:?} {how:?}");
            assert_eq!(finish(None, &how, &scene()), Change::Keep);
        }
    }
    let mine = row(State::Attempting(me()));
    let unknown = Row { possible_duplicate: true, at: AT, ..row(State::Unknown) };
    assert_eq!(finish(Some(&mine), &Finish::Unknown, &scene()), Change::Put(unknown));
}

#[test]
fn only_a_created_row_is_published() {
    let created = row(State::Created(account(), false));
    let confirmed = row(State::Created(account(), true));
    assert_eq!(published(Some(&created)), Change::Put(confirmed.clone()));
    for other in [Some(confirmed), Some(row(State::Unknown)), None] {
        assert_eq!(published(other.as_ref()), Change::Keep);
    }
}

#[test]
fn a_row_survives_its_columns() {
    let states = [
        State::Idle,
        State::Attempting(me()),
        State::Unknown,
        State::Created(account(), true),
        State::Unusable,
    ];
    for state in states {
        let words = vec![Uuid::from_u128(9), Uuid::from_u128(10)];
        for words in [Vec::new(), words] {
            let row = Row { words, possible_duplicate: true, ..row(state.clone()) };
            assert_eq!(Row::try_from(Flat::from(row.clone())), Ok(row));
        }
    }
}

#[test]
fn a_damaged_row_is_refused() {
    let flat = Flat::from(row(State::Attempting(me())));
    let damaged = [
        Flat { owner: None, ..flat.clone() },
        Flat { state: "paused".to_owned(), ..flat.clone() },
        Flat { state: "created".to_owned(), ..flat.clone() },
        Flat { attempt: -1, ..flat.clone() },
        Flat { words: Some(vec![1, 2, 3]), ..flat },
    ];
    for flat in damaged {
        assert!(Row::try_from(flat.clone()).is_err(), "{flat:?}");
    }
}
