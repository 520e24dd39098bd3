//! Names in a list: bytes, written as text.

/// Returns `name` as text: what is not UTF-8 as `%XX`, and `%` as well.
pub(super) fn escape(name: &[u8]) -> String {
    use std::fmt::Write as _;
    let mut text = String::with_capacity(name.len());
    for piece in name.utf8_chunks() {
        for character in piece.valid().chars() {
            match character {
                '%' => text.push_str("%25"),
                _ => text.push(character),
            }
        }
        for byte in piece.invalid() {
            // Writing into a String cannot fail.
            let _: std::fmt::Result = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Returns the name that was written so.
pub(super) fn unescape(text: &str) -> Option<Vec<u8>> {
    let mut pieces = text.split('%');
    let mut name = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        name.push(u8::from_str_radix(digits, 16).ok()?);
        name.extend(rest.as_bytes());
    }
    Some(name)
}
