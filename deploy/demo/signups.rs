//! The signups of the demo: made up, repeatable, most of them good.
//!
//! Owns the mix and what is expected of each. Nobody here exists: the names are common ones, the
//! addresses end in example.com, the telephone numbers are those that Ofcom keeps for drama.

use serde_json::{Value, json};

/// How a signup is expected to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// As a customer, at the first call.
    AtOnce,
    /// As a customer, after a retry.
    Retried,
    /// As a dead letter with this reason.
    Dead(&'static str),
}

/// What is done to a signup so that something happens to it.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// Nothing.
    None,
    /// A fault of the sandbox, asked for in the e-mail address.
    Fault(&'static str),
    /// A field of the customer is set to this.
    Wrong(&'static str, &'static str),
    /// A field of the customer is left out.
    Missing(&'static str),
}

/// What happens to a group of signups.
#[derive(Debug)]
pub(crate) struct Story {
    /// In words.
    pub(crate) words: &'static str,
    /// How it is expected to end.
    pub(crate) fate: Fate,
    count: usize,
    trouble: Trouble,
}

const fn story(count: usize, fate: Fate, trouble: Trouble, words: &'static str) -> Story {
    Story { words, fate, count, trouble }
}

/// The mix: 300 signups, of which three quarters meet no trouble.
static STORIES: [Story; 12] = [
    story(231, Fate::AtOnce, Trouble::None, "nothing went wrong"),
    story(12, Fate::Retried, Trouble::Fault("503x2"), "imin was busy twice (503)"),
    story(8, Fate::Retried, Trouble::Fault("429-retry-after-1x1"), "imin asked to wait (429, Retry-After)"),
    story(6, Fate::Retried, Trouble::Fault("reset-beforex1"), "the connection broke, no account was made"),
    story(6, Fate::Retried, Trouble::Fault("500-afterx1"), "imin made the account and answered 500"),
    story(
        4,
        Fate::Retried,
        Trouble::Fault("reset-afterx1"),
        "imin made the account, then the connection broke",
    ),
    story(
        9,
        Fate::Dead("invalid_event"),
        Trouble::Wrong("email", "geoff at example.com"),
        "no e-mail address",
    ),
    story(7, Fate::Dead("invalid_event"), Trouble::Missing("familyName"), "no family name"),
    story(5, Fate::Dead("invalid_event"), Trouble::Wrong("birthDate", "2999-12-31"), "born in the future"),
    story(6, Fate::Dead("rejected_by_api"), Trouble::Fault("422"), "imin refused the customer (422)"),
    story(3, Fate::Dead("retries_exhausted"), Trouble::Fault("503"), "imin was busy every time (503)"),
    story(
        3,
        Fate::Dead("unusable_response"),
        Trouble::Fault("no-identifierx1"),
        "imin's answer named no identifier",
    ),
];

/// How many of the signups that meet no trouble are sent a second time.
pub(crate) const REPEATED: usize = 12;

/// One signup.
pub(crate) struct Signup {
    /// Its CloudEvent's id.
    pub(crate) id: String,
    /// What happens to it.
    pub(crate) story: &'static Story,
    /// Its CloudEvent.
    pub(crate) event: Value,
}

/// All signups, in an order that mixes the stories, the same at every run.
pub(crate) fn all() -> Vec<Signup> {
    let mut dice = Dice(2026);
    let mut stories: Vec<&'static Story> =
        STORIES.iter().flat_map(|story| std::iter::repeat_n(story, story.count)).collect();
    for last in (1..stories.len()).rev() {
        stories.swap(last, dice.below(last + 1));
    }
    stories.into_iter().enumerate().map(|(index, story)| signup(index + 1, story, &mut dice)).collect()
}

fn signup(number: usize, story: &'static Story, dice: &mut Dice) -> Signup {
    let id = format!("signup-{number:04}");
    let mut customer = customer(number, dice);
    match story.trouble {
        Trouble::None => {}
        Trouble::Fault(fault) => {
            customer["email"] = json!(format!("member-{number:04}+fault-{fault}@example.com"));
        }
        Trouble::Wrong(field, value) => customer[field] = json!(value),
        Trouble::Missing(field) => drop(customer.as_object_mut().and_then(|fields| fields.remove(field))),
    }
    let event = event(&id, &format!("member-{number:04}"), &customer);
    Signup { id, story, event }
}

/// The event of a signup of its own, at which imin fails in this way.
pub(crate) fn troubled(id: &str, fault: &str) -> Value {
    let mut customer = customer(0, &mut Dice(0));
    customer["email"] = json!(format!("{id}+fault-{fault}@example.com"));
    event(id, id, &customer)
}

fn event(id: &str, subject: &str, customer: &Value) -> Value {
    json!({
        "specversion": "1.0",
        "type": "CreateCustomer",
        "source": "/demo/signups",
        "id": id,
        "subject": subject,
        "datacontenttype": "application/json",
        "data": {"@context": "https://openactive.io/", "@type": "CustomerAccount", "customer": customer},
    })
}

fn customer(number: usize, dice: &mut Dice) -> Value {
    json!({
        "@type": "Person",
        "email": format!("member-{number:04}@example.com"),
        "telephone": format!("020 7946 0{:03}", dice.below(1000)),
        "givenName": dice.pick(&["Amara", "Ben", "Chloe", "Dev", "Elif", "Femi", "Grace", "Hugo", "Isla", "Jonas"]),
        "familyName": dice.pick(&["Adeyemi", "Brown", "Clarke", "Desai", "Evans", "Fraser", "Green", "Hughes"]),
        "birthDate": format!("{}-{:02}-{:02}", 1950 + dice.below(55), 1 + dice.below(12), 1 + dice.below(28)),
        "address": {
            "@type": "PostalAddress",
            "streetAddress": format!("{} West Barnes Lane", 1 + dice.below(120)),
            "addressLocality": "New Malden",
            "addressRegion": "London",
            "postalCode": "KT3 6PJ",
            "addressCountry": "GB",
        },
    })
}

/// `SplitMix64`: chance that comes out the same at every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        usize::try_from((mixed ^ (mixed >> 31)) % bound).unwrap_or_default()
    }

    fn pick(&mut self, among: &'static [&'static str]) -> &'static str {
        among[self.below(among.len())]
    }
}
