//! JSON that can be read in one way only: no member twice, nothing after the end, and bounded before it is read.
//! It knows nothing of what the documents mean.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::error::Result;
use crate::image::oci::{bad, shown};

/// Bytes of one document; containerd and registries have the same bound.
pub const SIZE: u64 = 4 << 20;
/// Brackets in brackets. A config has four.
const DEPTH: usize = 32;
/// Of one object or array.
const MEMBERS: usize = 10_000;

/// Returns the names of the members at the top; none where there is no object.
///
/// # Errors
/// A document that is too large or deep, is no JSON, or holds a member twice.
pub(super) fn members(bytes: &[u8]) -> Result<BTreeSet<String>> {
    if u64::try_from(bytes.len()).map_or(true, |size| size > SIZE) {
        return Err(bad(format!("has more than {SIZE} bytes")));
    }
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let members = Once { depth: DEPTH }.deserialize(&mut reader).and_then(|members| reader.end().map(|()| members));
    members.map_err(|error| wrong(&error))
}

/// Reads a document that [`members`] has accepted. Members that `T` does not know are left out: the formats grow.
///
/// # Errors
/// What does not fit `T`.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes).map_err(|error| wrong(&error))
}

/// Refuses members that differ from a known one in case only: Go's decoder takes them for it, others do not.
///
/// # Errors
/// The first such member.
pub(super) fn refuse_lookalikes(members: &BTreeSet<String>, known: &[&str]) -> Result<()> {
    for member in members {
        if let Some(known) = known.iter().find(|known| *known != member && known.eq_ignore_ascii_case(member)) {
            return Err(bad(format!(
                "the member `{}` would be read as `{known}` by some and by others not",
                shown(member)
            )));
        }
    }
    Ok(())
}

fn wrong(error: &serde_json::Error) -> crate::error::Error {
    bad(format!("is not the JSON that is due: {}", shown(&error.to_string())))
}

/// Reads any value and keeps nothing of it but the names of its members.
#[derive(Clone, Copy)]
struct Once {
    /// How deep it may still go.
    depth: usize,
}

impl Once {
    fn inner<E: serde::de::Error>(self) -> std::result::Result<Self, E> {
        let depth = self.depth.checked_sub(1);
        depth.map(|depth| Self { depth }).ok_or_else(|| E::custom(format_args!("it is deeper than {DEPTH}")))
    }
}

fn count<E: serde::de::Error>(members: usize) -> std::result::Result<(), E> {
    match members {
        0..=MEMBERS => Ok(()),
        _ => Err(E::custom(format_args!("there are more than {MEMBERS} members in one place"))),
    }
}

impl<'de> DeserializeSeed<'de> for Once {
    type Value = BTreeSet<String>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> std::result::Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Once {
    type Value = BTreeSet<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> std::result::Result<Self::Value, E> {
        Ok(BTreeSet::new())
    }

    fn visit_bool<E>(self, _: bool) -> std::result::Result<Self::Value, E> {
        Ok(BTreeSet::new())
    }

    fn visit_i64<E>(self, _: i64) -> std::result::Result<Self::Value, E> {
        Ok(BTreeSet::new())
    }

    fn visit_u64<E>(self, _: u64) -> std::result::Result<Self::Value, E> {
        Ok(BTreeSet::new())
    }

    fn visit_f64<E>(self, _: f64) -> std::result::Result<Self::Value, E> {
        Ok(BTreeSet::new())
    }

    fn visit_str<E>(self, _: &str) -> std::result::Result<Self::Value, E> {
        Ok(BTreeSet::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> std::result::Result<Self::Value, A::Error> {
        let inner = self.inner()?;
        let mut number = 0;
        while values.next_element_seed(inner)?.is_some() {
            number += 1;
            count(number)?;
        }
        Ok(BTreeSet::new())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> std::result::Result<Self::Value, A::Error> {
        let inner = self.inner()?;
        let mut members = BTreeSet::new();
        while let Some(name) = values.next_key::<String>()? {
            if members.contains(&name) {
                return Err(A::Error::custom(format_args!("the member `{}` is there twice", shown(&name))));
            }
            drop(values.next_value_seed(inner)?);
            members.insert(name);
            count(members.len())?;
        }
        Ok(members)
    }
}
