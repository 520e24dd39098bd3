//! Takes the values of secrets out of what a command wrote: what is said of a run is kept and passed on. It knows no
//! secret but those of the environment.

use std::borrow::Cow;

use crate::plan::{Variable, VariableValue};

/// Returns `bytes` as text without the values of the secret variables of `env`: reports are kept and passed on, so a
/// command that prints its secret must not put it there.
#[must_use]
pub fn without_secrets<'a>(bytes: &'a [u8], env: &[Variable]) -> Cow<'a, str> {
    match masked(bytes, env) {
        Cow::Borrowed(bytes) => String::from_utf8_lossy(bytes),
        Cow::Owned(bytes) => Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()),
    }
}

/// The same as it was written, where two outputs that are no text must not become one.
#[must_use]
pub fn masked<'a>(bytes: &'a [u8], env: &[Variable]) -> Cow<'a, [u8]> {
    env.iter().fold(Cow::Borrowed(bytes), |bytes, variable| match &variable.value {
        VariableValue::Secret(value) if !value.is_empty() => match replaced(&bytes, value.as_bytes()) {
            Some(replaced) => Cow::Owned(replaced),
            None => bytes,
        },
        VariableValue::Secret(_) | VariableValue::Plain(_) => bytes,
    })
}

/// Returns `bytes` with an ellipsis for each `part`, or nothing where there is none.
fn replaced(bytes: &[u8], part: &[u8]) -> Option<Vec<u8>> {
    let find = |bytes: &[u8]| bytes.windows(part.len()).position(|found| found == part);
    let (mut at, mut rest) = (find(bytes)?, bytes);
    let mut replaced = Vec::with_capacity(bytes.len());
    loop {
        replaced.extend_from_slice(&rest[..at]);
        replaced.extend_from_slice("…".as_bytes());
        rest = &rest[at + part.len()..];
        match find(rest) {
            Some(next) => at = next,
            None => break,
        }
    }
    replaced.extend_from_slice(rest);
    Some(replaced)
}

#[cfg(test)]
mod tests {
    use super::{masked, without_secrets};
    use crate::plan::{Variable, VariableValue};

    #[test]
    fn a_value_is_taken_out_wherever_it_stands() {
        let secret = |value: &str| Variable { name: "A".to_owned(), value: VariableValue::Secret(value.to_owned()) };
        let plain = Variable { name: "B".to_owned(), value: VariableValue::Plain("b".to_owned()) };
        let env = [secret("xy"), plain, secret("")];
        for (text, expected) in [("", ""), ("x", "x"), ("xy", "…"), ("axyxyb", "a……b"), ("xxyy", "x…y"), ("b", "b")]
        {
            assert_eq!(without_secrets(text.as_bytes(), &env), expected, "{text}");
        }
        // As it was written around them.
        assert_eq!(*masked(b"\xffxy\xfe", &env), [&b"\xff"[..], "…".as_bytes(), b"\xfe"].concat());
    }
}
