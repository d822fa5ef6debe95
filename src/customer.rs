//! What imin's request body has to be: the rules of each field, and the constants.
//!
//! Owns the rules and the splicing in of constants that were left out. Where the data lies in a
//! message is `event`'s.

use crate::{
    json::Node,
    problem::{Path, Problems},
};
use jiff::civil::Date;

mod constants;
mod rules;
#[cfg(test)]
mod tests;

pub use constants::{ACCOUNT, CONTEXT, Missing, PERSON};
use rules::Fields;

/// The codes that `addressCountry` may have.
pub fn countries() -> &'static [&'static str] {
    rust_iso3166::ALL_ALPHA2
}

/// Notes every problem of the data that lies at `at`, and says which constants were left out.
/// `today` is the last date that is not in the future.
pub fn check(data: &Node<'_>, at: &Path<'_>, today: Date, problems: &mut Problems) -> Missing {
    let Some(mut fields) = Fields::of(data, *at, problems) else { return Missing::default() };
    let context = fields.constant("@context", constants::CONTEXT);
    let kind = fields.constant("@type", constants::ACCOUNT);
    let person = check_customer(&mut fields, today);
    Missing { context, kind, person }
}

/// Checks `customer`; true where its `@type` was left out.
fn check_customer(data: &mut Fields<'_>, today: Date) -> bool {
    let mut missing = false;
    data.required_object("customer", |customer| {
        missing = customer.constant("@type", constants::PERSON);
        customer.required("email", rules::email);
        customer.required("givenName", rules::not_blank);
        customer.required("familyName", rules::not_blank);
        customer.optional("telephone", rules::text);
        customer.optional("gender", rules::text);
        customer.optional("birthDate", |node| rules::birth_date(node, today));
        customer.optional("imin:is13OrOver", rules::boolean);
        customer.optional_object("address", check_address);
        customer.optional_object("emergencyContact", check_contact);
    });
    missing
}

fn check_address(address: &mut Fields<'_>) {
    address.constant("@type", "PostalAddress");
    for name in ["streetAddress", "addressLocality", "addressRegion", "postalCode"] {
        address.optional(name, rules::text);
    }
    address.optional("addressCountry", rules::country);
}

fn check_contact(contact: &mut Fields<'_>) {
    contact.constant("@type", constants::PERSON);
    contact.optional("name", rules::text);
    contact.optional("telephone", rules::text);
}
