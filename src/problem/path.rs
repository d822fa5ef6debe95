//! A place in a JSON body, built on the stack on the way down and written only for a problem.
//!
//! Owns the one gate through which a property's name can get from an event into a text: a name
//! that the worker does not document is written `*`, since a name can be personal data too.

use std::fmt;

/// The names that a problem may show: those that the worker documents, and no others.
const DOCUMENTED: &[&str] = &[
    // The envelope of CloudEvents.
    "data",
    "data_base64",
    "datacontenttype",
    "dataschema",
    "id",
    "source",
    "specversion",
    "subject",
    "time",
    "traceparent",
    "tracestate",
    "type",
    // imin's request body.
    "@context",
    "@type",
    "address",
    "addressCountry",
    "addressLocality",
    "addressRegion",
    "birthDate",
    "customer",
    "email",
    "emergencyContact",
    "familyName",
    "gender",
    "givenName",
    "imin:is13OrOver",
    "name",
    "postalCode",
    "streetAddress",
    "telephone",
];

/// A place in a JSON body. Displays as a JSON Pointer (RFC 6901), with `*` for each property whose
/// name is not documented.
#[derive(Debug, Clone, Copy)]
pub enum Path<'a> {
    /// The whole body.
    Root,
    /// A property of an object.
    Name(&'a Path<'a>, &'a str),
    /// An element of an array, from 0.
    Index(&'a Path<'a>, usize),
}

impl<'a> Path<'a> {
    /// The property `name` of this place.
    #[must_use]
    pub fn name(&'a self, name: &'a str) -> Self {
        Self::Name(self, name)
    }

    /// The element `index` of this place.
    #[must_use]
    pub fn index(&'a self, index: usize) -> Self {
        Self::Index(self, index)
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Root => Ok(()),
            Self::Name(parent, name) => write!(f, "{parent}/{}", shown(name)),
            Self::Index(parent, index) => write!(f, "{parent}/{index}"),
        }
    }
}

/// The name as a problem may show it. No documented name holds `~` or `/`, so none needs escaping.
pub(crate) fn shown(name: &str) -> &'static str {
    DOCUMENTED.iter().find(|known| **known == name).copied().unwrap_or("*")
}
