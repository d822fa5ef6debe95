//! Random histories against a model that knows nothing of rows: what was called, and what is known
//! of each call.

use super::{GO, GO_DESPITE, account, conformance::Fixture, memory::Memory, sqlite::Sqlite};
use imin_customer_worker::{
    event::EventKey,
    ledger::{Begun, Finish, Intent, Recorded},
};
use proptest::{collection::vec, prelude::*};
use std::collections::{HashMap, HashSet};
use uuid::Uuid;

#[derive(Debug, Clone)]
enum Step {
    Begin { key: u8, despite_unknown: bool, word: Option<u8> },
    Finish { key: u8, how: Finish },
    Published { key: u8 },
    Kill,
    Close,
}

/// One event, as somebody who watches everything would know it.
#[derive(Debug, Default)]
struct Known {
    /// A call is under way.
    calling: bool,
    /// A call was made, and nobody has learnt or said what came of it.
    doubt: bool,
    /// Words that were spent.
    spent: HashSet<u8>,
    settled: Option<Settled>,
}

#[derive(Debug)]
enum Settled {
    Created { identifier: String, published: bool, flagged: bool },
    Unusable { flagged: bool },
}

impl Known {
    fn begin(&mut self, despite_unknown: bool, word: Option<u8>) -> Begun {
        match &self.settled {
            // A claim of this worker's is older than what anybody settled without one.
            _ if self.calling => return Begun::Held,
            Some(Settled::Created { identifier, published, flagged }) => {
                let (published, possible_duplicate) = (*published, *flagged);
                return Begun::Created(Recorded {
                    account: account(identifier),
                    published,
                    possible_duplicate,
                });
            }
            Some(Settled::Unusable { flagged }) => return Begun::Unusable { possible_duplicate: *flagged },
            None => {}
        }
        let new_word = word.is_some_and(|word| !self.spent.contains(&word));
        if self.doubt && !new_word && !despite_unknown {
            return Begun::Unknown;
        }
        self.doubt &= !new_word;
        self.spent.extend(word);
        self.calling = true;
        if self.doubt { GO_DESPITE } else { GO }
    }

    fn finish(&mut self, how: &Finish) {
        let flagged = match self.settled {
            Some(Settled::Unusable { flagged }) => flagged,
            _ => self.doubt,
        };
        match (how, &self.settled) {
            (Finish::Created(account), None | Some(Settled::Unusable { .. })) => {
                let identifier = account.identifier.clone();
                self.settled = Some(Settled::Created { identifier, published: false, flagged });
            }
            (Finish::Unusable, None) => self.settled = Some(Settled::Unusable { flagged }),
            (Finish::Unknown, None) => self.doubt |= self.calling,
            _ => {}
        }
        self.calling = false;
    }

    fn published(&mut self) {
        if let Some(Settled::Created { published, .. }) = &mut self.settled {
            *published = true;
        }
    }

    /// The worker is gone: whatever it was calling for is in doubt.
    fn died(&mut self) {
        self.doubt |= self.calling && self.settled.is_none();
        self.calling = false;
    }
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..3_u8;
    let how = prop_oneof![
        2 => (0..2_u8).prop_map(|n| Finish::Created(account(&n.to_string()))),
        4 => Just(Finish::NothingMade),
        3 => Just(Finish::Unknown),
        1 => Just(Finish::Unusable),
    ];
    prop_oneof![
        8 => (key.clone(), any::<bool>(), proptest::option::of(0..2_u8))
            .prop_map(|(key, despite_unknown, word)| Step::Begin { key, despite_unknown, word }),
        6 => (key.clone(), how).prop_map(|(key, how)| Step::Finish { key, how }),
        1 => key.prop_map(|key| Step::Published { key }),
        1 => Just(Step::Kill),
        1 => Just(Step::Close),
    ]
}

async fn follows_the_model<F: Fixture>(steps: Vec<Step>) {
    let fixture = F::new().await;
    let mut worker = fixture.open().await;
    let mut model: HashMap<u8, Known> = HashMap::new();
    let events = [(); 3].map(|()| super::key());
    let words = [(); 2].map(|()| Uuid::new_v4());
    let event = |key: u8| -> EventKey { events[usize::from(key)] };
    for (i, step) in steps.iter().enumerate() {
        match step {
            Step::Begin { key, despite_unknown, word } => {
                let intent = Intent {
                    key: event(*key),
                    attempt: 1,
                    despite_unknown: *despite_unknown,
                    not_created: word.map(|word| words[usize::from(word)]),
                };
                let begun = worker.begin(intent).await.expect("an answer");
                let expected = model.entry(*key).or_default().begin(*despite_unknown, *word);
                assert_eq!(begun, expected, "step {i} of {steps:?}");
            }
            Step::Finish { key, how } => {
                worker.finish(event(*key), how.clone()).await.expect("a record");
                model.entry(*key).or_default().finish(how);
            }
            Step::Published { key } => {
                worker.published(event(*key));
                model.entry(*key).or_default().published();
            }
            Step::Kill | Step::Close => {
                // The lazy notes too, so that the model need not guess.
                worker.check().await.expect("writable");
                if matches!(step, Step::Close) {
                    worker.close().await.expect("closed");
                    drop(worker);
                } else {
                    fixture.kill(worker).await;
                }
                model.values_mut().for_each(Known::died);
                worker = fixture.open().await;
            }
        }
    }
}

fn run(future: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn memory_follows_the_model(steps in vec(step(), 1..60)) {
        run(follows_the_model::<Memory>(steps));
    }
}

proptest! {
    // Every step is synced to the disk, and rows pass through many generations.
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn sqlite_follows_the_model(steps in vec(step(), 1..40)) {
        run(follows_the_model::<Sqlite>(steps));
    }
}
