//! Writes one line of JSON that can be shown: what a terminal would act on, or hide, stands there as an
//! escape, which every reader of JSON undoes. It knows no type of ours.

use std::io::{Result, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

use crate::units::shows_itself;

/// Returns `value` as compact JSON with a final newline. JSON itself asks for escapes below U+0020 only, and a report
/// goes to standard error (CVE-2023-28101).
///
/// # Errors
/// None that our types can cause; the writer of JSON has errors for others.
pub(crate) fn line<T: Serialize + ?Sized>(value: &T) -> serde_json::Result<Vec<u8>> {
    // Larger than nearly every report, so that the line is written without moving.
    let mut line = Vec::with_capacity(4096);
    value.serialize(&mut Serializer::with_formatter(&mut line, Shown))?;
    line.push(b'\n');
    Ok(line)
}

struct Shown;

impl Formatter for Shown {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> Result<()> {
        // Nearly all there is, told by a glance at each byte.
        if fragment.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return writer.write_all(fragment.as_bytes());
        }
        let mut units = [0; 2];
        for character in fragment.chars() {
            if shows_itself(character) {
                write!(writer, "{character}")?;
            } else {
                character.encode_utf16(&mut units).iter().try_for_each(|unit| write!(writer, "\\u{unit:04x}"))?;
            }
        }
        Ok(())
    }
}
