//! Bytes that are mostly text: a JSON string where they are UTF-8, else `{"hex": "…"}`.

use std::fmt::Write;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Bytes that are mostly text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TextBytes(pub(super) Vec<u8>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    Text(String),
    Hex { hex: String },
}

#[derive(Serialize)]
struct Hex {
    hex: String,
}

impl Serialize for TextBytes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match std::str::from_utf8(&self.0) {
            Ok(text) => serializer.serialize_str(text),
            Err(_) => Hex { hex: to_hex(&self.0) }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TextBytes {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Form::deserialize(deserializer)? {
            Form::Text(text) => Ok(TextBytes(text.into_bytes())),
            Form::Hex { hex } => from_hex(&hex).map(TextBytes).ok_or_else(|| de::Error::custom("no hexadecimal bytes")),
        }
    }
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut hex, byte| {
        // Writing to a string does not fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    text.as_bytes()
        .chunks(2)
        .map(|pair| match *pair {
            [high, low] => u8::try_from(digit(high)? << 4 | digit(low)?).ok(),
            _ => None,
        })
        .collect()
}
