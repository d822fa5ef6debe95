//! AMQP's values as JSON that keeps their types.

use crate::message::{DecimalValue, Headers, ShortString, Value};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A value with its type: `{"text": "rejected_by_api"}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Typed {
    Void,
    Bool(bool),
    I8(i8),
    U8(u8),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    /// As text, since JSON has no infinity.
    F32(String),
    F64(String),
    Decimal {
        scale: u8,
        value: u32,
    },
    Timestamp(u64),
    ShortText(String),
    Text(String),
    /// A long string that is no UTF-8, in Base64.
    TextBase64(String),
    BytesBase64(String),
    Array(Vec<Typed>),
    Table(BTreeMap<String, Typed>),
}

impl Typed {
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::Void => Self::Void,
            Value::Boolean(is) => Self::Bool(*is),
            Value::ShortShortInt(n) => Self::I8(*n),
            Value::ShortShortUInt(n) => Self::U8(*n),
            Value::ShortInt(n) => Self::I16(*n),
            Value::ShortUInt(n) => Self::U16(*n),
            Value::LongInt(n) => Self::I32(*n),
            Value::LongUInt(n) => Self::U32(*n),
            Value::LongLongInt(n) => Self::I64(*n),
            Value::Float(n) => Self::F32(n.to_string()),
            Value::Double(n) => Self::F64(n.to_string()),
            Value::DecimalValue(n) => Self::Decimal { scale: n.scale, value: n.value },
            Value::Timestamp(n) => Self::Timestamp(*n),
            Value::ShortString(text) => Self::ShortText(text.to_string()),
            Value::LongString(text) => match std::str::from_utf8(text.as_bytes()) {
                Ok(text) => Self::Text(text.to_owned()),
                Err(_) => Self::TextBase64(BASE64_STANDARD.encode(text.as_bytes())),
            },
            Value::ByteArray(bytes) => Self::BytesBase64(BASE64_STANDARD.encode(bytes.as_slice())),
            Value::FieldArray(values) => Self::Array(values.as_slice().iter().map(Self::of).collect()),
            Value::FieldTable(table) => Self::Table(
                table.inner().iter().map(|(name, value)| (name.to_string(), Self::of(value))).collect(),
            ),
        }
    }

    fn value(self) -> Result<Value, String> {
        let bytes = |text: &str| BASE64_STANDARD.decode(text).map_err(|_| "has a header that is no Base64");
        let float = "has a header that is no number";
        Ok(match self {
            Self::Void => Value::Void,
            Self::Bool(is) => Value::Boolean(is),
            Self::I8(n) => Value::ShortShortInt(n),
            Self::U8(n) => Value::ShortShortUInt(n),
            Self::I16(n) => Value::ShortInt(n),
            Self::U16(n) => Value::ShortUInt(n),
            Self::I32(n) => Value::LongInt(n),
            Self::U32(n) => Value::LongUInt(n),
            Self::I64(n) => Value::LongLongInt(n),
            Self::F32(text) => Value::Float(text.parse().map_err(|_| float)?),
            Self::F64(text) => Value::Double(text.parse().map_err(|_| float)?),
            Self::Decimal { scale, value } => Value::DecimalValue(DecimalValue { scale, value }),
            Self::Timestamp(n) => Value::Timestamp(n),
            Self::ShortText(text) => Value::ShortString(short(&text)?),
            Self::Text(text) => Value::LongString(text.into()),
            Self::TextBase64(text) => Value::LongString(bytes(&text)?.into()),
            Self::BytesBase64(text) => Value::ByteArray(bytes(&text)?.into()),
            Self::Array(values) => {
                Value::FieldArray(values.into_iter().map(Self::value).collect::<Result<Vec<_>, _>>()?.into())
            }
            Self::Table(values) => Value::FieldTable(table(values)?),
        })
    }
}

pub(super) fn table(values: BTreeMap<String, Typed>) -> Result<Headers, String> {
    let mut table = Headers::default();
    for (name, value) in values {
        table.insert(short(&name)?, value.value()?);
    }
    Ok(table)
}

/// A short string, which holds 255 bytes.
pub(super) fn short(text: &str) -> Result<ShortString, String> {
    ShortString::try_new(text).map_err(|_| "has a property longer than 255 bytes".to_owned())
}
